// Package payment is the edge to a payment provider: the [Gateway] that checkout speaks to, and a simulated provider.
//
// A charge is named by its order's id, the provider's idempotency key: however often it is asked for, the customer pays
// once. Cancel is the fence that makes an unknown outcome known: afterwards the charge either has been captured for
// good or never will be, whatever requests are still on their way (as with Stripe's PaymentIntents:
// https://docs.stripe.com/api/payment_intents/cancel; there an intent has to be created before its charge, in Place, for
// there to be something to cancel).
package payment

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"doorbuster/app/money"
)

// Charge is a request for money.
type Charge struct {
	Order  uuid.UUID // the idempotency key
	Amount money.Money
	Token  string // the customer's single-use reference to a card, made by the provider
}

// Receipt says what became of a charge: captured, declined, or, where it is
// neither, cancelled before it was either. A charge that was only verified is
// declined or none of it.
type Receipt struct {
	Captured  bool
	Declined  bool        // the customer's bank said no
	Amount    money.Money // what was captured
	Reference string      // the provider's name for a captured charge
	Reason    string      // where it was not captured: why, for people
}

// ErrUnavailable says that the provider could not be asked or did not answer: the outcome of the charge is unknown.
// [Gateway.Cancel] settles it.
var ErrUnavailable = errors.New("the payment provider did not answer")

// Gateway is a payment provider. Its methods are safe to repeat and for
// concurrent use, also with the same order, and return by the context's
// deadline. Every error wraps [ErrUnavailable]; a declined card is not an error
// but a [Receipt].
type Gateway interface {
	// Charge captures the amount, or finds that it was captured, declined or cancelled before.
	Charge(ctx context.Context, c Charge) (Receipt, error)
	// Verify finds out whether the bank would let the customer pay, and
	// captures nothing: not now, and not by a Charge for the same order after
	// it. The receipt is declined, or it is not. It takes as long as a Charge
	// and fails as one, so that a customer can't tell them apart. The
	// provider's part of it is a zero-amount authorisation, such as Stripe's
	// SetupIntent: https://docs.stripe.com/api/setup_intents
	Verify(ctx context.Context, c Charge) (Receipt, error)
	// Cancel makes sure that nothing more is captured for an order, and returns what has been.
	Cancel(ctx context.Context, order uuid.UUID) (Receipt, error)
}
