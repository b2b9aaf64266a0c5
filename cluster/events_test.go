//go:build unix

package cluster

import (
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each kind of note of the supervisor has a constant here, and the reverse.
func TestEventKindsAreComplete(t *testing.T) {
	t.Parallel()
	kinds := func(file, typ string) (values []string) {
		t.Helper()
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typ {
				return true
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
			return true
		})
		slices.Sort(values)
		return values
	}
	notes, events := kinds("internal/supervisor/types.go", "NoteKind"), kinds("cluster.go", "EventKind")
	if len(events) == 0 {
		t.Fatal("no kinds are found")
	}
	if diff := cmp.Diff(notes, events); diff != "" {
		t.Errorf("kinds of notes (-) and of events (+):\n%s", diff)
	}
}

// OnEvent gets events in order. One that does not return holds nobody up; what
// it misses is counted, and the next event says so.
func TestOnEventThatHangs(t *testing.T) {
	t.Parallel()
	var got []Event
	begun, goOn := make(chan struct{}), make(chan struct{})
	m := &Master{cfg: Config{Log: slog.New(slog.DiscardHandler), OnEvent: func(e Event) {
		if len(got) == 0 {
			close(begun)
			<-goOn
		}
		got = append(got, e)
	}}}
	m.events = newBackground(func(int64) {})
	l := &loop{Master: m}
	l.publish(Event{Done: 0})
	<-begun
	for i := range backgroundQueue + 7 {
		l.publish(Event{Done: i + 1})
	}
	close(goOn)
	for l.missed > 0 { // until there is room again
		before := l.missed
		l.publish(Event{Kind: "last"})
		if l.missed > before+1 {
			t.Fatal("events are counted twice")
		}
	}
	m.events.close(hangInTests)
	missed := 0
	for i, e := range got {
		missed += e.Missed
		if e.Kind != "last" && e.Done != i {
			t.Fatalf("event %d comes as number %d", e.Done, i)
		}
	}
	if last := got[len(got)-1]; last.Kind != "last" || last.Missed < 7 || missed != last.Missed || len(got) != backgroundQueue+2 {
		t.Errorf("got %d events, and the last one is %+v", len(got), last)
	}
}
