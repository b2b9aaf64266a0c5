package limit

import (
	"testing"
	"time"
)

// The units of unlimited quotas are nobody's business, and the others keep
// their places.
func TestUnlimited(t *testing.T) {
	t.Parallel()
	l := open(t, Config{Timeout: patient})
	off, err := ParseQuota("off")
	if err != nil {
		t.Fatal(err)
	}
	if v := l.Decide(Take(key("off"), off, 1)); !v.Allowed || l.Stats().Trips != 0 {
		t.Errorf("got %+v after %d calls, want none", v, l.Stats().Trips)
	}
	k := key("on")
	on := func() Verdict { return l.Decide(Take(key("off"), off, 7), Take(k, Quota{1, time.Hour}, 1)) }
	if v := on(); !v.Allowed || v.Charge != 1 {
		t.Errorf("got %+v, want the second to have decided", v)
	}
	if v := on(); v.Allowed || v.Charge != 1 {
		t.Errorf("got %+v, want to be refused by the second", v)
	}
}

func TestParseQuota(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Quota{
		"30/1m": {30, time.Minute}, "1/1s": {1, time.Second}, "10/15m": {10, 15 * time.Minute}, "5/1h": {5, time.Hour},
		"7/1m30s": {7, 90 * time.Second}, "3/1h1m": {3, 61 * time.Minute}, "off": {},
	} {
		got, err := ParseQuota(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "30", "30/", "/1m", "0/1m", "-1/1m", "1/0s", "1/-1m", "1/1ms", "1000001/1m", "1/1000h", "1/m", "x/1m", "1/1m/1m", "Off", " 1/1m"} {
		if got, err := ParseQuota(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
