package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"doorbuster/loadtest/internal/shop"
)

// profile writes a CPU profile of one worker of A while it sells. It runs after the measurements, which it would disturb.
func (b *bench) profile(ctx context.Context, l *load, servers []*shop.Server) error {
	srv := servers[ours]
	admin, err := srv.Await(ctx, "admin address", 1)
	if err != nil {
		return err
	}
	pids, err := srv.PIDs(ctx)
	if err != nil {
		return err
	}
	const seconds = 4
	rate := l.rate(ours).Max
	if err := l.queue.fillUp(ctx, srv.Addr, int(rate*rateAllowance*(seconds+1))); err != nil {
		return err
	}
	sold := make(chan error, 1)
	go func() {
		_, err := l.queue.sell(ctx, srv.Addr, l.connections, (seconds+1)*time.Second)
		sold <- err
	}()
	url := fmt.Sprintf("http://%s/debug/workers/%d/pprof/profile?seconds=%d", admin[0].Addr, pids[1], seconds)
	return errors.Join(download(ctx, url, b.cfg.profile), <-sold)
}

func download(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %.500s", url, resp.Status, body)
	}
	return os.WriteFile(file, body, 0o600)
}
