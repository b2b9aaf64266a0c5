package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"text/tabwriter"
	"time"

	"doorbuster/loadtest/internal/client"
)

// Neighbours are customers behind the address that strangers come from, as in an
// office, or a mobile network. The shop limits that address for the strangers'
// sake; people who behave like people still have to be served.
const (
	neighbours     = 8
	neighbourPause = 2 * time.Second // between two purchases of one
)

// share is what neighbours got during an attack.
type share struct {
	attack  attack
	bought  int
	refused tally
	told    tally // the strangers
}

// behind has neighbours buy while strangers strike from their address with one
// program, whose User-Agent is not theirs.
func (b *bench) behind(ctx context.Context, a attack, addr string) share {
	address := b.from.Next()
	attacking, end := context.WithCancel(ctx)
	defer end()
	told := make(chan tally, 1)
	strangers := &crowd{addr: addr, skus: b.skus, rate: b.cfg.rate, address: address + "User-Agent: stranger\r\n"}
	go func() { told <- strangers.strike(attacking, []attack{a}, b.cfg.strangers, b.cfg.seed) }()

	all := make([]bought, neighbours)
	name := fmt.Sprintf("%016x", rand.Uint64())
	began := time.Now()
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			all[i].failed = tally{}
			conn := client.New(addr)
			defer conn.Close()
			pause(ctx, time.Duration(i)*neighbourPause/neighbours)
			from := fmt.Sprintf("%sUser-Agent: neighbour %d\r\n", address, i)
			for round := 0; time.Since(began) < b.cfg.duration && ctx.Err() == nil; round++ {
				all[i].buy(ctx, conn, from, b.skus[(i+neighbours*round)%len(b.skus)], fmt.Sprintf("%s-%d-%d", name, i, round))
				pause(ctx, neighbourPause)
			}
		})
	}
	wg.Wait()
	end()
	s := share{attack: a, refused: tally{}, told: <-told}
	for _, one := range all {
		s.bought += one.orders
		s.refused.add(one.failed)
	}
	return s
}

// besides tries all attacks on the neighbours of the newer shop.
func (b *bench) besides(ctx context.Context) (shares []share, err error) {
	for _, a := range b.cfg.attacks {
		pause(ctx, calm)
		s := b.behind(ctx, a, b.targets[0].addr)
		if ctx.Err() != nil {
			return shares, context.Cause(ctx)
		}
		shares = append(shares, s)
		b.say("neighbours of %s: %d bought, refused %v; strangers were told %v", a.name, s.bought, s.refused, s.told)
	}
	return shares, nil
}

// reportShares prints what neighbours got, and counts the attacks during which
// anything of it was refused.
func reportShares(to io.Writer, shares []share) (broken int) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%d customers behind the address of the strangers\nattack\tbought\trefused\t\n", neighbours)
	for _, s := range shares {
		verdict := ""
		if s.refused.total() > 0 || s.bought == 0 {
			verdict = fmt.Sprintf("LESS THAN CUSTOMERS SHOULD KEEP: refused %v", s.refused)
			broken++
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", s.attack.name, s.bought, s.refused.total(), verdict)
	}
	w.Flush()
	return broken
}
