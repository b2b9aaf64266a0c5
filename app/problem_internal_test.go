package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/account"
	"doorbuster/app/checkout"
)

// Whoever is answered 503 is told which of its causes it was, and when to come back.
func TestUnavailableSaysWhy(t *testing.T) {
	t.Parallel()
	const slow, away, full, givenUp = "did not answer in time", "can't be used", "Too many requests", "given up"
	for _, test := range []struct {
		err          error
		code, detail string
	}{
		{&crowded{errCrowd, checkoutPatience}, "busy", full},
		{account.ErrBusy, "busy", full},
		{fmt.Errorf("%w: %w", account.ErrBusy, errRequestTimeout), "busy", full},
		{fmt.Errorf("%w: 20000 requests are waiting", checkout.ErrBusy), "busy", full},
		{fmt.Errorf("%w: not committed: %w", checkout.ErrBusy, context.DeadlineExceeded), "unavailable", slow},
		{fmt.Errorf("%w: not committed: %w", checkout.ErrBusy, io.ErrUnexpectedEOF), "unavailable", away},
		{fmt.Errorf("read cart: %w", context.DeadlineExceeded), "unavailable", slow},
		{fmt.Errorf("load session: %w", os.ErrDeadlineExceeded), "unavailable", slow},
		{fmt.Errorf("load session: %w", redis.ErrPoolTimeout), "unavailable", slow},
		{&pgconn.PgError{Code: "57014"}, "unavailable", slow},
		{&pgconn.PgError{Code: "55P03"}, "unavailable", slow},
		{&pgconn.PgError{Code: "53300"}, "unavailable", away},
		{&pgconn.PgError{Code: "57P01"}, "unavailable", away},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, "unavailable", away},
		{fmt.Errorf("read cart: %w", context.Canceled), "unavailable", givenUp},
	} {
		p := problemFor(test.err)
		if p.Status != http.StatusServiceUnavailable || p.Code != test.code || !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%v: got %d %s: %s; want %s: %s", test.err, p.Status, p.Code, p.Detail, test.code, test.detail)
		}
		if p.GetHeaders().Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", test.err)
		}
	}
}
