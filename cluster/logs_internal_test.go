//go:build unix

package cluster

import (
	"fmt"
	"strings"
	"testing"
)

// What is kept of a slot is bounded, whatever its workers write, and it is the last
// of it; nobody is pushed out by another slot.
func TestLogbookIsBounded(t *testing.T) {
	t.Parallel()
	var b logbook
	b.add(2, 7, []byte("the other one\n"))
	for i := range 100_000 {
		b.add(1, 8, fmt.Appendf(nil, "line %d\n\n", i))
	}
	for name, text := range map[string]string{"long lines": strings.Repeat("x", maxLine) + "\n", "short ones": strings.Repeat("\n", maxLine)} {
		for range 10 {
			b.add(3, 9, []byte(text))
		}
		if size := b.slots[3].size; size > logRoom || size < logRoom/2 {
			t.Errorf("%s: %d bytes are kept of %d", name, size, logRoom)
		}
	}
	for o, want := range map[LogOptions]string{
		{Slot: 1, Last: 4}: "line 99998//line 99999/",
		{Slot: 2}:          "the other one",
		{Slot: 2, Last: 9}: "the other one",
		{Last: -1}:         "",
	} {
		lines, f, err := b.open(o)
		texts := make([]string, len(lines))
		for i, l := range lines {
			texts[i] = l.Text
		}
		if got := strings.Join(texts, "/"); got != want || f != nil || err != nil {
			t.Errorf("%+v: got %q, %v, %v", o, got, f, err)
		}
	}
	all, _, err := b.open(LogOptions{})
	if err != nil || all[0].Text != "the other one" || all[0].PID != 7 || all[0].Slot != 2 {
		t.Errorf("all slots: it begins with %+v, %v", all[0], err)
	}
	if _, _, err := b.open(LogOptions{Slot: 4}); err == nil || err.Error() != "no worker has been started in slot 4" {
		t.Errorf("slot 4: %v", err)
	}
}

// One who follows gets what comes after what was there, without a gap. If he does not
// read, he has a bounded part of it and is told how many lines are missing, and those
// who write don't notice. There are not too many of them.
func TestLogbookFollowers(t *testing.T) {
	t.Parallel()
	var b logbook
	b.add(1, 7, []byte("before\n"))
	lines, f, err := b.open(LogOptions{Slot: 1, Follow: true})
	if err != nil || len(lines) != 1 {
		t.Fatalf("%v, %v", lines, err)
	}
	const written = 100_000
	for i := range written {
		b.add(1, 7, fmt.Appendf(nil, "line %d\n", i))
		b.add(2, 8, []byte("another slot\n"))
	}
	<-f.wake
	got := b.take(f)
	last := got[len(got)-1]
	if len(got) < 1000 || (len(got)-1)*logLineCost > followerRoom || last.Missed != written-(len(got)-1) {
		t.Errorf("%d lines, and then %+v", len(got), last)
	}
	for i, l := range got[:len(got)-1] {
		if l.Text != fmt.Sprintf("line %d", i) || l.Missed != 0 {
			t.Fatalf("line %d is %+v", i, l)
		}
	}
	b.add(1, 7, []byte("two\nlines\n"))
	if got := b.take(f); len(got) != 2 || got[0].Text != "two" || got[1].Text != "lines" {
		t.Errorf("afterwards: %+v", got)
	}
	for range maxFollowers - 1 {
		if _, _, err := b.open(LogOptions{Follow: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := b.open(LogOptions{Follow: true}); err == nil || !strings.Contains(err.Error(), "32 follow the log already") {
		t.Errorf("one too many: %v", err)
	}
	b.leave(f)
	if _, _, err := b.open(LogOptions{Follow: true}); err != nil {
		t.Error(err)
	}
}
