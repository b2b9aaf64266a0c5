package cluster_test

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// A drain ends as soon as all connections have gone, however long their lame duck is.
func TestLameDuckEndsEarly(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, func(p *workplace) { p.LameDuck = time.Hour / 2 })
	fresh, kept, streaming, old := p.patron(), p.regular(), p.patron(), p.patron()
	streaming.get("/stream")
	old.send("GET /wait HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	<-p.entered
	<-p.entered
	until(t, func() bool { return p.Connections() == 4 })
	p.tellToStop()
	kept.Close()
	fresh.get("/hello")
	fresh.answer(http.StatusOK, "hello", true)
	close(p.release)
	streaming.answer(http.StatusOK, "begun and ended", false)
	streaming.get("/hello")
	streaming.answer(http.StatusOK, "hello", true)
	old.answer(http.StatusOK, "hello", false) // HTTP/1.0 is kept alive by a field of its own
	old.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	old.answer(http.StatusOK, "hello", true)
	p.mustEnd(nil)
	if p.log.with(`"msg":"drained"`, `"closed_without_notice":0`) == nil || p.log.with(`"level":"WARN"`) != nil {
		t.Errorf("got %s", p.log.with())
	}
}

// The same when it has nothing to do but to wait.
func TestLameDuckEndsWithTheLast(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, func(p *workplace) { p.LameDuck = time.Hour / 2 })
	kept, silent := p.regular(), p.patron()
	until(t, func() bool { return p.Connections() == 2 })
	p.stop(nil)
	until(t, func() bool { return p.log.with(`"msg":"draining"`, `"in_flight":0`, `"idle":2`) != nil })
	silent.Close()
	kept.Close()
	p.mustEnd(nil)
}

// A head that begins to arrive during the drain has a lame duck of its own to do so.
func TestLameDuckOfAHead(t *testing.T) {
	t.Parallel()
	for inTime := false; !inTime; { // a busy machine may take longer than the lame duck
		p := openWorkplace(t, nil)
		dribbling := p.regular()
		p.stop(nil)
		until(t, func() bool { return p.log.with(`"msg":"stopping"`) != nil && p.Draining() })
		<-time.After(p.LameDuck / 2) // or its own would end at the same time as that of the drain
		begun := time.Now()
		io.WriteString(dribbling, "GET /hello HT")
		until(t, func() bool { return p.Reading() == 1 || p.LastCalling() })
		inTime = !p.LastCalling()
		until(t, p.LastCalling)
		if early := p.LameDuck - time.Since(begun); inTime && early > 0 {
			t.Errorf("the last call came %v too early", early)
		}
	}
}

// A drain whose requests outlast the lame duck: the connection of the last one has a lame duck of its own.
func TestLameDuckOfTheLast(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"plain", "http/1.1"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			for inTime := false; !inTime; { // a busy machine may take longer than the lame duck
				p := openWith(t, proto, nil)
				v := p.patronOver(proto)
				v.get("/stream")
				<-p.entered
				p.tellToStop()
				until(t, func() bool { return len(p.log.with(`"msg":"draining"`, "GET /stream")) >= 2 })
				released := time.Now()
				p.release <- struct{}{}
				v.answer(http.StatusOK, "begun and ended", false)
				_, err := io.WriteString(v, "GET /hello HTTP/1.1\r\nHost: shop\r\n\r\n")
				if inTime = time.Since(released) < p.LameDuck; inTime {
					if err != nil {
						t.Fatal(err)
					}
					v.answer(http.StatusOK, "hello", true)
					p.mustEnd(nil)
				}
			}
		})
	}
}

// The log counts the idle connections that a drain closes without a notice, and warns of those that were not given the
// time: the drain limit was near, or somebody was in a hurry.
func TestLameDuckCutShort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*workplace)
		hurry   bool
		warning string
	}{
		"it is over": {func(p *workplace) { p.LameDuck = 10 * time.Millisecond }, false, ""},
		"the limit is near": {
			func(p *workplace) { p.LameDuck, p.DrainTimeout = time.Hour, 500*time.Millisecond }, false, `"connections":3`,
		},
		"hurry": {func(p *workplace) { p.LameDuck = time.Hour / 2 }, true, `"connections":3`},
	} {
		for _, proto := range []string{"plain", "http/1.1"} {
			t.Run(name+" "+proto, func(t *testing.T) {
				t.Parallel()
				p := openWith(t, proto, c.change)
				fresh, kept, dribbling := p.patronOver(proto), p.patronOver(proto), p.patronOver(proto)
				kept.get("/hello")
				kept.answer(http.StatusOK, "hello", false)
				dribbling.send("GET /hello HT")
				until(t, func() bool { return p.Connections() == 3 && p.Quiet() && (proto != "plain" || p.Reading() == 1) })
				p.tellToStop()
				if c.hurry {
					p.hurry()
				}
				p.mustEnd(nil)
				for _, v := range []*patron{fresh, kept, dribbling} {
					v.gone()
				}
				if p.log.with(`"msg":"drained"`, `"closed_without_notice":3`) == nil {
					t.Errorf("the log does not count 3: %s", p.log.with())
				}
				warned := p.log.with(`"level":"WARN"`, "lame duck cut short")
				if c.warning == "" && warned != nil || c.warning != "" && p.log.with(`"level":"WARN"`, "lame duck cut short", c.warning) == nil {
					t.Errorf("got warnings %s, want %s", warned, c.warning)
				}
			})
		}
	}
}
