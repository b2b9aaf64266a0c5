package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"doorbuster/loadtest/internal/cli"
	"doorbuster/loadtest/internal/client"
)

// A crowd is a part of a herd in a process of its own: descriptors are limited by process. This program starts itself
// with crowdArgument, says what to do on standard input, waits for "ready", and says "go". What the crowd was told then
// comes as lines of JSON.
const crowdArgument = "herd-crowd"

// crowdOrder is what a crowd has to do.
type crowdOrder struct {
	Addr   string `json:"addr"`
	SKU    string `json:"sku"`
	Name   string `json:"name"`  // unique, for keys
	First  int    `json:"first"` // the number of its first buyer in the herd
	Buyers int    `json:"buyers"`
	Net    int    `json:"net"` // 127.0.NET.x are its addresses
}

// A TCP connection is a pair of addresses, so one source address has at most 28,232 of them to one shop with Linux's default
// range of ports (ip(7), ip_local_port_range). 127.0.0.0/8 is full of others.
const buyersPerAddress = 10_000

func (o *crowdOrder) source(i int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, byte(o.Net), byte(1+(o.First+i)/buyersPerAddress))}
}

// openers open connections and fill carts at once. It is far below the backlog of a listening socket (listen(2), 4,096).
const openers = 48

// crowdGC keeps the collector from taking the cores from the shop: all of a crowd is alive till its end anyway.
const crowdGC = 400

func runCrowd(ctx context.Context, _ []string, stdout, stderr io.Writer) int {
	debug.SetGCPercent(crowdGC)
	err := func() error {
		in, out := json.NewDecoder(os.Stdin), bufio.NewWriter(stdout)
		var order crowdOrder
		if err := in.Decode(&order); err != nil {
			return fmt.Errorf("read the order: %w", err)
		}
		members, err := gather(ctx, &order)
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, `"ready"`)
		var word string
		if err := in.Decode(&word); err != nil {
			return fmt.Errorf("wait for the word: %w", err)
		}
		release(ctx, members, jittered)
		lines := json.NewEncoder(out)
		for _, m := range members {
			for _, t := range m.told {
				if err := lines.Encode(t); err != nil {
					return err
				}
			}
		}
		return out.Flush()
	}()
	return cli.Finish(ctx, stderr, "checkout: a crowd", err)
}

// gather opens all connections of a crowd, and has a cart filled over each: so each is accepted, and a worker's.
func gather(ctx context.Context, order *crowdOrder) ([]*member, error) {
	who := client.NewCustomers()
	members, errs := make([]*member, order.Buyers), make([]error, openers)
	var wg sync.WaitGroup
	for opener := range openers {
		wg.Go(func() {
			for i := opener; i < len(members) && errs[opener] == nil && ctx.Err() == nil; i += openers {
				c := client.New(order.Addr)
				c.From, c.Limit = order.source(i), answerLimit
				var b buyer
				b, errs[opener] = fill(ctx, c, who.Next(), fmt.Sprintf("%s-%d", order.Name, order.First+i), order.SKU)
				members[i] = &member{buyer: b, client: c}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return members, errors.Join(errs...)
}

// release lets all of them go at one instant, and returns when each has a definite answer or has given up.
func release(ctx context.Context, members []*member, pause func(context.Context, time.Duration)) {
	gate := make(chan struct{})
	var start time.Time
	var wg, waiting sync.WaitGroup
	waiting.Add(len(members))
	for _, m := range members {
		wg.Go(func() {
			waiting.Done()
			<-gate
			m.persist(ctx, start, pause)
			m.client.Close()
		})
	}
	waiting.Wait()
	start = time.Now()
	close(gate)
	wg.Wait()
}
