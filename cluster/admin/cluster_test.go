//go:build unix

package admin_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// M3, M8, O7: a scrape is whole whatever happens to the workers meanwhile, and names every slot.
func TestMetricsWhileWorkersDie(t *testing.T) {
	t.Parallel()
	const slots = 2
	s := start(t, slots, false)
	s.settle(slots)
	quit := make(chan struct{})
	scrapes := 0
	var scraping sync.WaitGroup
	scraping.Go(func() {
		for ; ; scrapes++ {
			select {
			case <-quit:
				return
			default:
			}
			got, err := try(request{url: s.admin + "/metrics"})
			if err != nil || got.code != http.StatusOK {
				t.Errorf("got %d: %s, %v", got.code, got.body, err)
				return
			}
			all := parsed(t, got.body)
			up := slotted(all["cluster_worker_up"])
			for slot := 1; slot <= slots; slot++ {
				if _, named := up[slot]; !named {
					t.Errorf("slot %d is not named, but %v", slot, up)
				}
			}
			if t.Failed() {
				return
			}
			for slot, processes := range up {
				if slot > slots || processes > 2 {
					t.Errorf("%v processes answer for slot %d", processes, slot)
				}
				if _, told := slotted(all["go_goroutines"])[slot]; told != (processes > 0) {
					t.Errorf("%v processes answer for slot %d, and whether it tells anything: %t", processes, slot, told)
				}
			}
		}
	})
	for round := range 5 {
		victim := s.settle(slots).Workers[round%slots].PID
		s.kill(victim, syscall.SIGKILL)
		eventually(t, "the end of the worker", func() bool { return s.state(victim) == "gone" })
		s.command("reload", "")
	}
	after := s.settle(slots)
	close(quit)
	scraping.Wait()
	if scrapes == 0 {
		t.Error("nobody has scraped")
	}
	if after.Master.ReloadsTotal != 5 || after.Master.ReloadsFailed != 0 || after.Master.CrashesTotal != 5 {
		t.Errorf("the master has counted %+v", after.Master)
	}
	all := parsed(t, s.get("/metrics").body)
	for slot, processes := range slotted(all["cluster_worker_up"]) {
		if processes != 1 {
			t.Errorf("%v processes answer for slot %d in the end", processes, slot)
		}
	}
	s.command("stop", "")
	s.exit()
}

// M8: while a slot has two processes, one on its way in and then one on its way out, it is one to whoever scrapes. The one
// that is starting is not asked.
func TestMetricsOfASlotWithTwo(t *testing.T) {
	t.Parallel()
	s := start(t, 1, true)
	s.visitor()()
	old := s.settle(1).Workers[0].PID
	byOld, byNew := 0, 0
	greet := func() {
		t.Helper()
		got := send(t, request{url: s.url + "/", header: []string{"Connection", "close"}})
		if got.body == strconv.Itoa(old) {
			byOld++
		} else {
			byNew++
		}
	}
	// told returns when the slot has begun, by what it tells; all of its series are there once.
	told := func(workers, up, greetings int) (began float64) {
		t.Helper()
		if n := len(s.status().Workers); n != workers {
			t.Errorf("%d workers, want %d", n, workers)
		}
		all := parsed(t, s.get("/metrics").body)
		for name, want := range map[string]int{"cluster_worker_up": up, "greetings_total": greetings, "go_info": 1} {
			if got, named := slotted(all[name])[1]; !named || got != float64(want) || len(all[name].GetMetric()) != 1 {
				t.Errorf("%s is %v, want %v", name, all[name], want)
			}
		}
		for _, m := range all["greeting_seconds"].GetMetric() {
			if n := m.GetHistogram().GetBucket()[0].GetCumulativeCount(); n != uint64(greetings) {
				t.Errorf("%d greetings are in the first bucket, want %d", n, greetings)
			}
		}
		if m := all["go_gc_duration_seconds"].GetMetric(); len(m) != 1 || (len(m[0].GetSummary().GetQuantile()) > 0) != (up == 1) {
			t.Errorf("of %d processes the summary is %v", up, m)
		}
		return slotted(all["process_start_time_seconds"])[1]
	}
	letGo := s.hold()
	for range 3 {
		greet()
	}
	first := told(1, 1, 3)
	verdict := make(chan response, 1)
	go func() {
		got, _ := try(request{method: http.MethodPost, url: s.admin + "/api/v1/reload"})
		verdict <- got
	}()
	letIn := s.visitor()
	if began := told(2, 1, 3); began != first {
		t.Errorf("while another one starts, the slot has begun at %v, and then at %v", first, began)
	}
	letIn()
	eventually(t, "the old one to leave", func() bool { return s.state(old) == "draining" })
	for byNew < 2 && byOld < 1000 { // the old one may not have heard of it
		greet()
	}
	second := told(2, 2, byOld+byNew)
	letGo()
	if got := <-verdict; got.code != http.StatusOK {
		t.Errorf("reload: got %d: %s", got.code, got.body)
	}
	s.settle(1)
	if third := told(1, 1, byNew); third != second || second <= first {
		t.Errorf("the slot has begun at %v, of two at %v, and in the end at %v", first, second, third)
	}
	s.command("stop", "")
	s.exit()
}

// state is that of one worker.
func (s *service) state(pid int) string {
	s.Helper()
	for _, w := range s.status().Workers {
		if w.PID == pid {
			return w.State
		}
	}
	return "gone"
}

// M11: a worker that is stopped holds nobody up: others are told, and it is shown to be away until it is back.
func TestMetricsOfAWorkerThatIsStopped(t *testing.T) {
	t.Parallel()
	s := start(t, 2, false)
	workers := s.settle(2).Workers
	tells := func() map[int]float64 {
		t.Helper()
		all := parsed(t, s.get("/metrics").body)
		if len(slotted(all["go_goroutines"])) != int(slotted(all["cluster_worker_up"])[1]+slotted(all["cluster_worker_up"])[2]) {
			t.Errorf("goroutines of the slots: %v", slotted(all["go_goroutines"]))
		}
		return slotted(all["cluster_worker_up"])
	}
	s.kill(workers[0].PID, syscall.SIGSTOP)
	var up map[int]float64
	eventually(t, "slot 1 to be away", func() bool { // the signal may take a moment
		up = tells()
		return up[1] == 0
	})
	if up[2] != 1 || len(up) != 2 {
		t.Errorf("while slot 1 is stopped: %v", up)
	}
	if got := s.get("/readyz"); got.code != http.StatusOK {
		t.Errorf("/readyz: got %d: %s", got.code, got.body)
	}
	s.kill(workers[0].PID, syscall.SIGCONT)
	eventually(t, "slot 1 to be back", func() bool { return tells()[1] == 1 })
	s.command("stop", "")
	s.exit()
}

// M15: everything that a signal does, the admin address does, too, and it answers as documented.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := start(t, 2, false)
	before := s.settle(2)
	eventually(t, "a heartbeat of both", func() bool {
		before = s.status()
		return before.Workers[0].Goroutines > 0 && before.Workers[1].Goroutines > 0
	})
	if m := before.Master; m.PID != s.cmd.Process.Pid || m.Target != 2 || len(m.Listeners) != 1 || "http://"+m.Listeners[0] != s.url {
		t.Errorf("the master is %+v", m)
	}
	for i, w := range before.Workers {
		if w.Slot != i+1 || w.PID == before.Master.PID || w.State != "ready" || w.Release != before.Master.Release || w.RSSBytes == 0 {
			t.Errorf("a worker is %+v", w)
		}
	}
	fields := func(body string) (keys []string) {
		t.Helper()
		var raw struct {
			Master  map[string]any   `json:"master"`
			Workers []map[string]any `json:"workers"`
		}
		if err := json.Unmarshal([]byte(body), &raw); err != nil || len(raw.Workers) == 0 {
			t.Fatalf("%s: %v", body, err)
		}
		for key := range raw.Master {
			keys = append(keys, "master."+key)
		}
		for key := range raw.Workers[0] {
			keys = append(keys, "workers."+key)
		}
		return keys
	}
	got := s.get("/api/v1/status")
	if got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the status has the header %v", got.header)
	}
	has := strings.Join(fields(got.body), " ") + " "
	for key := range strings.FieldsSeq(`master.pid master.release master.uptime_seconds master.state
		workers.slot workers.pid workers.release workers.state workers.uptime_seconds
		workers.rss_bytes workers.in_flight workers.requests_total`) {
		if !strings.Contains(has, key+" ") { // scripts depend on them
			t.Errorf("the status lacks %s", key)
		}
	}

	if got := s.command("reload", ""); got.body != `{"ok":true}`+"\n" {
		t.Errorf("reload: got %s", got.body)
	}
	after := s.settle(2)
	for i, w := range after.Workers {
		if w.PID == before.Workers[i].PID {
			t.Errorf("reload has left worker %d", w.PID)
		}
	}
	if got := s.command("scale", `{"workers": 3}`); got.body != `{"ok":true,"workers":3}`+"\n" {
		t.Errorf("scale: got %s", got.body)
	}
	s.settle(3)
	if up := slotted(parsed(t, s.get("/metrics").body)["cluster_worker_up"]); len(up) != 3 {
		t.Errorf("after scaling up: %v", up)
	}
	if got := s.command("settings", `{"key": "colour", "value": "red"}`); got.body != `{"ok":true,"workers":3}`+"\n" {
		t.Errorf("settings: got %s", got.body)
	}
	s.command("scale", `{"workers": 1}`)
	s.settle(1)
	if up := slotted(parsed(t, s.get("/metrics").body)["cluster_worker_up"]); len(up) != 1 || up[1] != 1 {
		t.Errorf("after scaling down: %v", up)
	}
	if got := s.command("stop?wait=true", ""); got.body != `{"ok":true}`+"\n" {
		t.Errorf("stop: got %s", got.body)
	}
	s.exit()
}

// Commands that are wrong change nothing and say why; those of other sites and under other names don't get through.
func TestCommandsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, 2, false)
	before := s.settle(2)
	for _, c := range []struct {
		name, body, host, origin string
		code                     int
		reason                   string
	}{
		{"scale", `{"workers": 0}`, "", "", 422, "there can be"},
		{"scale", `{"workers": 100000}`, "", "", 422, "there can be"},
		{"scale", `{"workers": "many"}`, "", "", 400, "not the JSON"},
		{"scale", `{"worker": 3}`, "", "", 400, "not the JSON"},
		{"scale", `{"workers": 3} {}`, "", "", 400, "not the JSON"},
		{"scale", ``, "", "", 400, "not the JSON"},
		{"settings", `{"key": "unknown", "value": ""}`, "", "", 422, "no such setting"},
		{"settings", `{"key": "picky", "value": ""}`, "", "", 422, "worker 2 refuses: not here"},
		{"stop", "", "", "https://evil.example", 403, "another site"},
		{"reload", "", "", "null", 403, "another site"},
		{"scale", `{"workers": 3}`, "", "https://evil.example", 403, "another site"},
		{"stop", "", "evil.example", "http://evil.example", 403, "loopback name"},
	} {
		r := request{method: http.MethodPost, url: s.admin + "/api/v1/" + c.name, body: c.body, host: c.host}
		r.header = []string{"Origin", c.origin}
		got := send(t, r)
		if reason := got.refusal(t); got.code != c.code || !strings.Contains(reason, c.reason) {
			t.Errorf("%s %s: got %d: %s", c.name, c.body, got.code, got.body)
		}
	}
	for path, code := range map[string]int{"/api/v1/stop": 405, "/api/v1/reload": 405, "/api/v1/none": 404, "/api/v1/": 404} {
		if got := s.get(path); got.code != code {
			t.Errorf("GET %s: got %d: %s", path, got.code, got.body)
		}
	}
	after := s.settle(2)
	if after.Master.Target != 2 || after.Master.ReloadsTotal != 0 ||
		after.Workers[0].PID != before.Workers[0].PID || after.Workers[1].PID != before.Workers[1].PID {
		t.Errorf("something has changed: %+v", after)
	}
	s.command("stop", "")
	s.exit()
}

// M8: a reload tells line by line what happens, to those who ask for it, while it happens.
func TestReloadWithEvents(t *testing.T) {
	t.Parallel()
	s := start(t, 1, true)
	s.visitor()()
	s.settle(1)
	req, err := http.NewRequest(http.MethodPost, s.admin+"/api/v1/reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	var e cluster.Event
	if err := lines.Decode(&e); err != nil || e.Kind != "rollout" { // and nothing but this test lets the worker in
		t.Errorf("the first event is %+v, %v", e, err)
	}
	s.visitor()()
	var last, before json.RawMessage
	for lines.More() {
		before = last
		if err := lines.Decode(&last); err != nil {
			t.Fatal(err)
		}
	}
	if string(last) != `{"ok":true}` || !bytes.Contains(before, []byte(`"kind"`)) {
		t.Errorf("the last lines are %s and %s", before, last)
	}
	s.command("stop", "")
	s.exit()
}

// The cluster is ready as long as one worker is and nobody has told it to stop; it lives as long as its master answers.
// What is in flight holds up the end, and whoever asked to wait for it.
func TestProbes(t *testing.T) {
	t.Parallel()
	s := start(t, 2, true)
	probe := func(path string, code int, status string) {
		t.Helper()
		got := s.get(path)
		if got.code != code || got.body != `{"status":"`+status+`"}`+"\n" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d: %s, want %s", path, got.code, got.body, status)
		}
	}
	letFirstIn, letSecondIn := s.visitor(), s.visitor()
	probe("/readyz", 503, "no worker is ready")
	probe("/livez", 200, "ok")
	if up := slotted(parsed(t, s.get("/metrics").body)["cluster_worker_up"]); len(up) != 2 || up[1] != 0 || up[2] != 0 {
		t.Errorf("while both workers start: %v", up)
	}
	letFirstIn()
	eventually(t, "the first worker", func() bool { return s.status().Master.Ready == 1 })
	probe("/readyz", 200, "ok") // one is enough
	letSecondIn()
	s.settle(2)
	probe("/readyz", 200, "ok")

	letGo := s.hold()
	stopped := make(chan response, 1)
	go func() {
		got, err := try(request{method: http.MethodPost, url: s.admin + "/api/v1/stop?wait=true"})
		if err != nil {
			got.body = err.Error()
		}
		stopped <- got
	}()
	eventually(t, "the stop", func() bool { return s.status().Master.State == "stopping" })
	probe("/readyz", 503, "stopping")
	probe("/livez", 200, "ok")
	eventually(t, "the idle worker to leave", func() bool { return len(s.status().Workers) == 1 })
	probe("/readyz", 503, "stopping")
	probe("/livez", 200, "ok")
	text := s.get("/metrics").body
	if all := parsed(t, text); len(slotted(all["go_goroutines"])) != 1 { // the one that is held up can still be looked at
		t.Errorf("while the last worker leaves: %s", text)
	}
	got := send(t, request{method: http.MethodPost, url: s.admin + "/api/v1/reload"})
	if got.code != http.StatusServiceUnavailable || got.refusal(t) != cluster.ErrStopped.Error() {
		t.Errorf("reload: got %d: %s", got.code, got.body)
	}
	select {
	case got := <-stopped:
		t.Errorf("stop has not waited: %d: %s", got.code, got.body)
	default:
	}
	letGo()
	if got := <-stopped; got.code != http.StatusOK || got.body != `{"ok":true}`+"\n" {
		t.Errorf("stop: got %d: %s", got.code, got.body)
	}
	s.exit()
}
