package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Every class finds a connection, whatever the number; together they are no
// more than there are; and from four on no class has to share.
func TestBudgetFits(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig("postgres://nobody@127.0.0.1:1/nothing") // nothing connects
	if err != nil {
		t.Fatal(err)
	}
	for connections := int32(1); connections <= 200; connections++ {
		p, err := openPools(t.Context(), config, connections, false)
		if err != nil {
			t.Fatal(err)
		}
		var sum int32
		owners := map[*pgxpool.Pool]int{}
		for _, pool := range p.named {
			sum += pool.Config().MaxConns
		}
		for c, pool := range p.of {
			if pool == nil {
				t.Fatalf("%d connections: class %v has none", connections, class(c))
			}
			owners[pool]++
		}
		if sum != connections {
			t.Errorf("%d connections are divided into %d", connections, sum)
		}
		if connections >= int32(classes) && len(owners) != int(classes) {
			t.Errorf("%d connections: there are %d pools", connections, len(owners))
		}
		// What strangers can ask for at will never takes what orders need.
		if connections > 1 && p.of[catalogueClass] == p.of[checkoutClass] {
			t.Errorf("%d connections: the checkout shares those of the catalogue", connections)
		}
		if connections > 2 && p.of[customerClass] == p.of[checkoutClass] {
			t.Errorf("%d connections: the checkout shares those of the customers", connections)
		}
		p.close()
	}
}

// The default, as the documentation has it; and one pool for all where a
// comparison asks for it.
func TestBudgetOfTen(t *testing.T) {
	t.Parallel()
	if got, want := budget(10), [classes]int32{2, 5, 2, 1}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	config, err := pgxpool.ParseConfig("postgres://nobody@127.0.0.1:1/nothing")
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPools(t.Context(), config, 10, true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	var names []string
	for name, pool := range p.named {
		names = append(names, name)
		if got := pool.Config().MaxConns; got != 10 {
			t.Errorf("%s has %d connections", name, got)
		}
	}
	if !slices.Equal(names, []string{"catalogue-customers-checkout-background"}) {
		t.Errorf("got %v", names)
	}
}

// A pooler that refuses our settings is told from a PostgreSQL that can't be used, with what to do.
func TestPoolerAdvice(t *testing.T) {
	t.Parallel()
	refused := fmt.Errorf("connect: %w", &pgconn.PgError{Code: "08P01", Message: "unsupported startup parameter: lock_timeout"})
	if got := poolerAdvice(refused); !strings.Contains(got, "ignore_startup_parameters") {
		t.Errorf("got %q", got)
	}
	if got := poolerAdvice(&pgconn.PgError{Code: "28P01", Message: "password authentication failed"}); got != "" {
		t.Errorf("got %q for another error", got)
	}
}
