package checkout

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/money"
	"doorbuster/app/payment"
)

// What the tests reach through the wall: the steps that take many orders at once, in batches of the tests' own making.

// Placement is what became of one request of [Service.PlaceAll].
type Placement struct {
	Order   Order
	Resumed bool
	Err     error
}

// PlaceAll is placeAll. An order that it places is what a worker leaves that dies after the first step.
func (s *Service) PlaceAll(ctx context.Context, reqs ...Request) ([]Placement, error) {
	all, err := s.placeAll(ctx, reqs, mainLane, s.provider.admit(time.Now()))
	out := make([]Placement, len(all))
	for i, p := range all {
		out[i] = Placement{p.order, p.resumed, p.err}
	}
	return out, err
}

// PlaceBatch is what happens to requests that arrive together.
func (s *Service) PlaceBatch(reqs ...Request) []Placement {
	var out []Placement
	for _, a := range s.placeTogether(reqs, mainLane) {
		out = append(out, Placement{a.value.order, a.value.resumed, a.err})
	}
	return out
}

// SettleBatch is what happens to payments that end together. The error is that of each.
func (s *Service) SettleBatch(ends ...Ending) (orders []Order, errs []error) {
	for _, a := range s.settleTogether(settlements(ends), mainLane) {
		orders, errs = append(orders, a.value), append(errs, a.err)
	}
	return orders, errs
}

// Ending is how the payment of one order ended, for [Service.SettleAll].
type Ending struct {
	Order   uuid.UUID
	Total   money.Money // of the order; the zero value: what was captured
	Receipt payment.Receipt
	Reason  CancelReason
	Unasked time.Time // see settlement
}

// SettleAll is settleAll, again and again until none is put off.
func (s *Service) SettleAll(ctx context.Context, ends ...Ending) (map[uuid.UUID]Order, error) {
	for {
		orders, putOff, err := s.settleAll(ctx, settlements(ends), patientLane)
		if err != nil || len(putOff) == 0 {
			return orders, err
		}
	}
}

func settlements(ends []Ending) []settlement {
	all := make([]settlement, len(ends))
	for i, end := range ends {
		all[i] = *settled(end.Order, cmp.Or(end.Total, end.Receipt.Amount), end.Receipt, end.Reason)
		all[i].unasked = end.Unasked
	}
	return all
}

// LoseProvider is what the Service learns from a provider that is away.
func (s *Service) LoseProvider() {
	for range breakerMisses {
		s.provider.unknown(time.Now(), 0)
	}
}

// Suspect makes suspicions of locked rows last.
func (s *Service) Suspect(lasts time.Duration) { s.suspects.lasts = lasts }

// ErrPutOff is what becomes of an order in a batch that goes around a locked row.
var ErrPutOff = errPutOff

// MaxTries is how often a transaction is run.
const MaxTries = maxTries

// The statements whose plans are tested.
const (
	SelectPrior  = selectPrior
	ClaimExpired = claimExpired
)

// How the transactions of batches begin.
const (
	BeginBriefly = beginBriefly
	BeginAround  = beginAround
)
