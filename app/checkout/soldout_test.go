package checkout_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// ledger is a pgx tracer that keeps the names of the statements that are sent.
type ledger struct {
	mu   sync.Mutex
	sent []string
}

func (l *ledger) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, _, _ := strings.Cut(strings.TrimPrefix(data.SQL, "-- name: "), "\n")
	l.sent = append(l.sent, name)
	return ctx
}

func (l *ledger) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// take returns what was sent since the last time.
func (l *ledger) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent
	l.sent = nil
	return sent
}

// E3: once a SKU is gone, this worker refuses without a transaction: with one look at the carts of all who ask. A key whose order
// stands is replayed all the same, and units that come back are sold.
func TestSoldOutFromMemory(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	sent := new(ledger)
	config := s.pool.Config()
	config.ConnConfig.Tracer = sent
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := checkout.New(pool, s.provider, s.log, patient)

	first := s.buyer(payment.TokenOK, lastTen, 9)
	last := s.buyer(payment.TokenDeclined, lastTen, 1)
	if _, err := w.Checkout(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	placed, err := w.PlaceAll(t.Context(), last) // it is at its bank now
	if err != nil || placed[0].Err != nil {
		t.Fatal(err, placed)
	}
	sent.take()
	late := s.buyer(payment.TokenOK, lastTen, 1)
	var took []string
	for range 20 { // on a machine that is busy a second may pass, and then the shelf is looked at anew
		_, err = w.Checkout(t.Context(), late)
		if refusal, ok := errors.AsType[*checkout.OutOfStock](err); !ok || len(refusal.Lines) != 1 || refusal.Lines[0] != (checkout.ShortLine{SKU: s.sku[lastTen], Code: lastTen, Requested: 1, Held: 1}) {
			t.Fatalf("got %v, want a refusal", err)
		}
		if took = sent.take(); len(took) == 1 {
			break
		}
	}
	if len(took) != 1 || took[0] != "checkout.wanted" {
		t.Errorf("to refuse it took %v", took)
	}
	mixed := s.buyer(payment.TokenOK, mug, 1)
	if _, err := w.Checkout(t.Context(), mixed); err != nil {
		t.Errorf("what is there is not sold while something else is gone: %v", err)
	}
	s.fill(first.Owner, lastTen, 1)
	if got, err := w.Checkout(t.Context(), first); err != nil || !got.Replayed || got.Order.Status != checkout.Confirmed {
		t.Errorf("a key whose order stands: %+v, %v", got, err)
	}

	receipt, err := s.provider.Charge(t.Context(), payment.Charge{Order: placed[0].Order.ID, Amount: placed[0].Order.Total, Token: payment.TokenDeclined})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.SettleAll(t.Context(), checkout.Ending{Order: placed[0].Order.ID, Receipt: receipt}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Checkout(t.Context(), late); err != nil || got.Order.Status != checkout.Confirmed {
		t.Errorf("the unit that came back is not sold to who was refused, under the same key: %+v, %v", got, err)
	}
	s.checkBooks()
}
