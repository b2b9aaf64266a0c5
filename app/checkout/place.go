package checkout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/inventory"
	"doorbuster/app/pricing"
)

// placed is what became of one request in Place: a new order, one found under the key, or a refusal.
type placed struct {
	order   Order
	lease   time.Time // where the order is pending: the end of this request's lease on its payment
	resumed bool      // found pending, and this request is now the one that pays
	waits   bool      // found pending, and nobody pays while the provider is away
	trial   int64     // the breaker's: this order finds out whether the provider is back
	err     error
}

var (
	errPlaceTimeout  = errors.New("placing the order timed out")
	errLookupTimeout = errors.New("looking an order up timed out")
)

// place runs the first step for one request, together with others. A customer
// who hangs up while waiting is not bought for: the units are for those who
// still wait. ctx is that of the customer, and work that of what has begun.
func (s *Service) place(ctx, work context.Context, req Request) (placed, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, s.lastPlace(work, time.Now()), errQueueTimeout)
	defer cancel()
	p, err := patiently(ctx, work, s.cfg.LockPatience, s.placing, s.placingLate, req)
	if fault, ok := errors.AsType[*panicked](err); ok {
		panic(fault) // here, where the request's own recovery is
	}
	return p, err
}

// placeBatch and placeLate place orders together, each in its lane.
func (s *Service) placeBatch(reqs []Request) []answered[placed] {
	return s.placeTogether(reqs, mainLane)
}

func (s *Service) placeLate(reqs []Request) []answered[placed] {
	return s.placeTogether(reqs, patientLane)
}

// placeTogether answers each of the requests.
func (s *Service) placeTogether(reqs []Request, l lane) []answered[placed] {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.cfg.TransactionTimeout, errPlaceTimeout)
	defer cancel()
	out := make([]answered[placed], len(reqs))
	refused := s.refuseSoldOut(ctx, reqs)
	var rest []Request
	var slots []int
	for i, req := range reqs {
		if refusal := refused[i]; refusal != nil {
			out[i].err = refusal
			continue
		}
		rest, slots = append(rest, req), append(slots, i)
	}
	if len(rest) == 0 {
		return out
	}
	admitted := s.provider.admit(time.Now())
	defer func() {
		if !slices.ContainsFunc(out, func(a answered[placed]) bool { return a.err == nil && a.value.trial != 0 }) {
			s.provider.giveBack(admitted.trial) // nobody has taken it
		}
	}()
	err := inParts(rest, func(first int, reqs []Request) error {
		all, err := s.placeAll(ctx, reqs, l, admitted)
		if slices.ContainsFunc(all, func(p placed) bool { return p.trial != 0 }) {
			admitted.trial = 0 // one, and no more in the other parts
		}
		for i, p := range all {
			out[slots[first+i]] = answered[placed]{p, p.err}
		}
		return err
	}, func(i int, err error) { out[slots[i]].err = whyFailed(err) })
	if err != nil {
		s.log.Warn("orders are placed in parts", "orders", len(rest), "error", err)
	}
	return out
}

// placeAll places many orders in one transaction and answers each request. When the transaction's fate is unknown it
// looks the keys up; an error means that nothing is known to be placed and that a repeat with the same keys is safe.
func (s *Service) placeAll(ctx context.Context, reqs []Request, l lane, admitted pass) ([]placed, error) {
	var out []placed
	var shelf *inventory.Shelf
	err := s.around(ctx, l, whenAsked, func(tx pgx.Tx, around bool) (err error) {
		t := &placing{Service: s, tx: tx, lane: l, around: around, admitted: admitted, out: make([]placed, len(reqs))}
		shelf, err = t.place(ctx, reqs)
		out = t.out
		return err
	})
	if err == nil {
		if shelf != nil {
			s.cfg.SoldOut.Found(shelf.News())
		}
		return out, nil
	}
	if _, lost := errors.AsType[*commitLost](err); !lost {
		return nil, fmt.Errorf("place order: %w", err)
	}
	// Only new orders matter: a refused or replayed request wrote nothing, and a resumed one no more than its lease.
	var owners, ids []uuid.UUID
	for i, p := range out {
		if p.err == nil && !p.resumed && !p.waits && p.order.Status == Pending {
			owners, ids = append(owners, reqs[i].Owner), append(ids, p.order.ID)
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	found, lookupErr := s.committed(ctx, owners, ids)
	if lookupErr != nil {
		return nil, fmt.Errorf("%w: the database went away while committing; repeat with the same Idempotency-Key: %w",
			ErrBusy, errors.Join(err, lookupErr))
	}
	for i, p := range out {
		if slices.Contains(ids, p.order.ID) && !slices.Contains(found, p.order.ID) {
			out[i] = placed{err: fmt.Errorf("%w: the order was not committed: %w", ErrBusy, err)}
		}
	}
	return out, nil
}

// placing is one run of the transaction of Place.
type placing struct {
	*Service
	tx       pgx.Tx
	lane     lane
	around   bool // what is held by others is put off, and not waited for
	admitted pass
	out      []placed // one answer for each request
}

// suspect remembers what was found held.
func (t *placing) suspect(held rows) {
	if t.lane == mainLane {
		t.suspects.found(held)
	}
}

// putOff puts requests off whose rows are held.
func (t *placing) putOff(slot int) { t.out[slot] = placed{err: errPutOff} }

// place answers each request, and returns the shelf as it is left, nil where nobody had to look at it.
func (t *placing) place(ctx context.Context, reqs []Request) (*inventory.Shelf, error) {
	if err := t.lookAtCarts(ctx, reqs); err != nil {
		return nil, err
	}
	var some []Request
	var owners []uuid.UUID
	for i := range reqs {
		if t.out[i].err == nil {
			some, owners = append(some, reqs[i]), append(owners, reqs[i].Owner)
		}
	}
	batch := new(pgx.Batch)
	carts := cart.QueueLock(batch, owners)
	prior := queuePrior(batch, some)
	if err := t.tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	if t.cfg.Plain {
		if err := lockFirstTx(ctx, t.tx, carts); err != nil {
			return nil, err
		}
	}
	var drafts []*draft
	for i, req := range reqs {
		if t.out[i].err != nil {
			continue
		}
		key := ownedKey{req.Owner, req.Key}
		switch before, found := prior[key]; {
		case found && !req.repeats(before.fingerprint):
			t.out[i].err = ErrKeyReused
		case found && before.paying:
			t.out[i].err = ErrInFlight
		case found:
			t.out[i].order = before.order
			if before.order.Status == Pending {
				t.out[i].trial, t.out[i].resumed = t.admitted.take()
				t.out[i].waits = !t.out[i].resumed
			}
			if t.out[i].resumed {
				before.paying = true
				prior[key] = before
			}
		case len(carts[req.Owner].Lines) == 0:
			t.out[i].err = ErrCartEmpty
		default:
			drafts = append(drafts, &draft{request: req, slot: i, cart: carts[req.Owner]})
		}
	}
	if err := t.resume(ctx); err != nil {
		return nil, err
	}
	return t.order(ctx, drafts)
}

// lookAtCarts puts off the requests whose carts are held.
func (t *placing) lookAtCarts(ctx context.Context, reqs []Request) error {
	var held rows
	if t.around {
		owners := make([]uuid.UUID, len(reqs))
		for i := range reqs {
			owners[i] = reqs[i].Owner
		}
		var err error
		if held, err = heldCartsTx(ctx, t.tx, owners); err != nil {
			return err
		}
		t.suspect(held)
	}
	for i := range reqs {
		if held.carts[reqs[i].Owner] || t.lane == mainLane && t.suspects.any(cartOf(reqs[i].Owner)) {
			t.putOff(i)
		}
	}
	return nil
}

// lookAtGoods puts off the drafts that need a stock row or a limited code that is held, and returns the others.
func (t *placing) lookAtGoods(ctx context.Context, drafts []*draft) (rest []*draft, err error) {
	var held rows
	if t.around {
		orders := make([]*Order, len(drafts))
		for i, d := range drafts {
			orders[i] = &d.order
		}
		if held, err = heldGoodsTx(ctx, t.tx, orders); err != nil {
			return nil, err
		}
		t.suspect(held)
	}
	for _, d := range drafts {
		o := &d.order
		if held.holds(o.Lines, o.DiscountCode) || t.lane == mainLane && t.suspects.goods(o.Lines, o.DiscountCode) {
			t.putOff(d.slot)
			continue
		}
		rest = append(rest, d)
	}
	return rest, nil
}

// lockFirstTx is what makes [Config.Plain] plain: everything after it is done with the hot row in hand.
func lockFirstTx(ctx context.Context, tx pgx.Tx, carts map[uuid.UUID]cart.Cart) error {
	var demands []inventory.Order
	for _, c := range carts {
		var o inventory.Order
		for _, l := range c.Lines {
			o.Lines = append(o.Lines, inventory.Line{SKU: l.SKU, Quantity: l.Quantity})
		}
		demands = append(demands, o)
	}
	_, err := inventory.LockTx(ctx, tx, demands)
	return err
}

// order prices the drafts, takes their units in the order of their arrival and writes those that got them.
func (t *placing) order(ctx context.Context, drafts []*draft) (*inventory.Shelf, error) {
	if len(drafts) == 0 {
		return nil, nil
	}
	tx, out := t.tx, t.out
	drafts, err := t.priceTx(ctx, tx, drafts, out)
	if err != nil {
		return nil, err
	}
	if drafts, err = t.lookAtGoods(ctx, drafts); err != nil {
		return nil, err
	}
	if drafts = t.admitted.refuse(drafts, out); len(drafts) == 0 {
		return nil, nil
	}
	codes, demands := make([]string, 0, len(drafts)), make([]inventory.Order, 0, len(drafts))
	for _, d := range drafts {
		demands = append(demands, d.demand)
		if d.order.DiscountCode != "" {
			codes = append(codes, d.order.DiscountCode)
		}
	}
	locks := new(pgx.Batch)
	left := pricing.QueueLock(locks, codes)
	shelf := inventory.QueueLock(locks, demands)
	if err := tx.SendBatch(ctx, locks).Close(); err != nil {
		return nil, err
	}
	uses := map[string]int{}
	var sold []*draft
	buyers := map[uuid.UUID]*draft{} // sold, by owner: the next request for the same cart finds it empty
	for _, d := range drafts {
		if before := buyers[d.request.Owner]; before != nil {
			out[d.slot].err = d.request.after(&before.request)
			continue
		}
		code := d.order.DiscountCode
		limit, limited := left[code]
		if limited && limit <= uses[code] {
			out[d.slot].err = &pricing.RefusedDiscount{Code: code, Reason: "has been used up"}
			continue
		}
		if err := d.take(shelf); err != nil {
			out[d.slot].err = err
			continue
		}
		if limited {
			uses[code]++
			d.counted = true
		}
		sold, buyers[d.request.Owner] = append(sold, d), d
	}
	if len(sold) == 0 {
		return shelf, nil
	}
	batch := new(pgx.Batch)
	pricing.QueueUses(batch, uses)
	shelf.Queue(batch)
	t.queueOrders(batch, sold)
	soldOwners := make([]uuid.UUID, len(sold))
	for i, d := range sold {
		soldOwners[i] = d.request.Owner
	}
	cart.QueueEmpty(batch, soldOwners)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("write orders: %w", err)
	}
	for _, d := range sold {
		out[d.slot].order, out[d.slot].lease, out[d.slot].trial = d.order, d.lease, d.trial
	}
	return shelf, nil
}

// after says why a request is refused that comes in one batch with another of its owner's, which was served.
func (r *Request) after(served *Request) error {
	switch {
	case r.Key != served.Key:
		return ErrCartEmpty
	case !r.repeats(served.fingerprint()):
		return ErrKeyReused
	default:
		return ErrInFlight
	}
}
