package app_test

import (
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"doorbuster/app"
)

// awaits waits for what nothing tells of; the test's time limit bounds it.
func (s *shop) awaits(so func() bool) {
	s.t.Helper()
	for !so() {
		if s.t.Context().Err() != nil {
			s.t.FailNow()
		}
		runtime.Gosched()
	}
}

func (s *shop) price(slug string) int64 {
	s.t.Helper()
	var p app.Product
	s.visitor().do("GET", "/v1/products/"+slug, nil).want(http.StatusOK, &p)
	return p.SKUs[0].Price.Minor
}

// S3: a change of the catalogue is heard of, and answers have it from then on, although the one before was a moment old: what is
// not heard of is looked at every ten seconds. So it is after the connection that listens was lost, with what has
// changed meanwhile.
func TestPriceChangeIsHeard(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.awaits(s.app.Listens)
	change := func(minor int64) {
		t.Helper()
		if _, err := s.pool.Exec(t.Context(), "UPDATE sku SET list_price_minor = $1 WHERE code = $2", minor, kettle); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		want := int64(2100 + i)
		s.price("kettle") // so that there is an answer to be forgotten
		before, _ := s.app.Heard()
		change(want)
		s.awaits(func() bool { now, _ := s.app.Heard(); return now > before })
		// Where PostgreSQL takes long to answer, the old answer is given once more, and the new one comes when it is there.
		s.awaits(func() bool { return s.price("kettle") == want })
	}
	before, _ := s.app.Heard()
	killed := one[int](s, `SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'doorbuster listener, pool of %') AS k`)
	if killed != 1 {
		t.Fatalf("%d connections listen", killed)
	}
	change(3000)
	s.awaits(func() bool { now, _ := s.app.Heard(); return now > before && s.app.Listens() })
	s.awaits(func() bool { return s.price("kettle") == 3000 })
}

// A worker that leaves gives up the connection that it listens on, which tells
// the next one what its pool may take.
func TestListensUntilDrain(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	s := open(t, func(c *app.Config) { c.Host, c.MaxConns = &host{began: began}, 7 })
	listeners := func() int {
		return one[int](s, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'doorbuster listener, pool of 7'`)
	}
	s.awaits(func() bool { return listeners() == 1 && s.app.Listens() })
	close(began)
	s.awaits(func() bool { return listeners() == 0 })
	s.price("kettle")
}

// What changes in one transaction is heard of once, and what is rolled back never is.
func TestCatalogueNews(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.awaits(s.app.Listens)
	for _, sql := range []string{
		"UPDATE category SET name = 'Other' WHERE slug = 'special'",
		"UPDATE product SET name = 'Other' WHERE slug = 'kettle'",
		"INSERT INTO sku (product_id, code, name, position, currency, list_price_minor) SELECT id, 'KETTLE-2', 'Large', 9, 'USD', 3000 FROM product WHERE slug = 'kettle'",
		"UPDATE sale SET ends_at = ends_at + interval '1 hour'",
		"UPDATE sale_price SET price_minor = price_minor + 1",
		"DELETE FROM sale_price",
	} {
		before, stock := s.app.Heard()
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		s.awaits(func() bool { now, _ := s.app.Heard(); return now > before })
		if _, now := s.app.Heard(); now != stock {
			t.Errorf("%s: news of a shelf", sql)
		}
	}
}

// E3: a shelf that is emptied or filled by another host is heard of, where its availability is another one, and at no other time.
func TestShelfNews(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.awaits(s.app.Listens)
	id := one[int64](s, "SELECT id FROM sku WHERE code = $1", lastTen)
	_, first := s.app.Heard()
	for _, c := range []struct {
		units   int
		heard   bool
		soldOut bool
	}{{9, false, false}, {11, true, false}, {400, false, false}, {1, true, false}, {0, true, true}, {3, true, false}} {
		_, before := s.app.Heard()
		if _, err := s.pool.Exec(t.Context(), "UPDATE stock SET available = $1 WHERE sku_id = $2", c.units, id); err != nil {
			t.Fatal(err)
		}
		if c.heard {
			s.awaits(func() bool { _, now := s.app.Heard(); return now > before })
		}
		s.awaits(func() bool { return s.app.SoldOut(id) == c.soldOut })
	}
	if _, last := s.app.Heard(); last-first != 4 { // they come in order, so none is on its way
		t.Errorf("%d notifications", last-first)
	}
}

// party is a master's siblings, without the master.
type party struct {
	mu      sync.Mutex
	said    []string
	members []func(from int, data []byte)
}

type member struct {
	*party
	number int
}

func (p *party) join() app.Siblings {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = append(p.members, nil)
	return member{p, len(p.members)}
}

func (m member) Broadcast(data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, fmt.Sprintf("%d: %s", m.number, data))
	for i, f := range m.members {
		if i+1 != m.number && f != nil {
			f(m.number, data)
		}
	}
	return nil
}

func (m member) OnMessage(f func(from int, data []byte)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members[m.number-1] = f
}

// E3: the worker that sells the last unit tells its siblings, which believe it, for a second.
func TestSiblingsAreToldWhatIsSoldOut(t *testing.T) {
	t.Parallel()
	family := new(party)
	s := open(t, func(c *app.Config) { c.Siblings = family.join() })
	// PostgreSQL tells everybody, too, and may be faster.
	if _, err := s.pool.Exec(t.Context(), "ALTER TABLE stock DISABLE TRIGGER notify"); err != nil {
		t.Fatal(err)
	}
	v := s.visitor()
	v.add(lastTen, 10)
	v.buy("all-ten", "tok_ok", "ten@example.com").want(http.StatusCreated, nil)
	id := one[int64](s, "SELECT id FROM sku WHERE code = $1", lastTen)
	if want := fmt.Sprintf(`[1: {"gone":[%d]}]`, id); fmt.Sprint(family.said) != want {
		t.Errorf("the siblings were told %v, want %s", family.said, want)
	}
	other := family.join()
	if err := other.Broadcast(fmt.Appendf(nil, `{"gone":[%d]}`, 4711)); err != nil || !s.app.SoldOut(4711) {
		t.Errorf("what a sibling says is not believed: %v", err)
	}
	if err := other.Broadcast(fmt.Appendf(nil, `{"back":[%d]}`, 4711)); err != nil || s.app.SoldOut(4711) {
		t.Errorf("that it is back is not believed: %v", err)
	}
	if err := other.Broadcast([]byte("nonsense")); err != nil {
		t.Error(err)
	}
	family.mu.Lock()
	defer family.mu.Unlock()
	if len(family.said) != 4 {
		t.Errorf("what was heard is told again: %v", family.said)
	}
}
