package checkout

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/inventory"
	"doorbuster/app/money"
)

// Status is the state of an order.
type Status string

// The states; see the package documentation.
const (
	Pending   Status = "pending"
	Confirmed Status = "confirmed"
	Cancelled Status = "cancelled"
)

// CancelReason says why an order was cancelled.
type CancelReason string

// The reasons. Nothing was charged in any of these cases.
const (
	ReasonDeclined CancelReason = "declined"       // the customer's bank said no
	ReasonFailed   CancelReason = "payment_failed" // the provider failed, and the charge is fenced off
	ReasonExpired  CancelReason = "expired"        // nobody paid before the hold ended
	ReasonLimit    CancelReason = "customer_limit" // the address has its limit; see [Order].OverLimit
)

// Order is what a customer bought, or tried to.
type Order struct {
	ID           uuid.UUID // version 7: sorts by time
	Number       int64     // for people; not in the order of the orders
	Email        string
	Status       Status
	CancelReason CancelReason // set where Status is Cancelled
	Lines        []OrderLine
	Subtotal     money.Money
	Discount     money.Money
	Total        money.Money
	DiscountCode string // "" for none
	CreatedAt    time.Time
	// OverLimit is the code of the SKU of which the e-mail address had enough
	// when the order was placed, "" for none. Such an order is never charged.
	OverLimit string
}

// OrderLine is one SKU as it was sold.
type OrderLine struct {
	SKU       int64
	Code      string
	Name      string
	Quantity  int
	UnitPrice money.Money
	Limited   bool // counts against the customer's allowance
	// Limit is how many units a customer could have when the order was placed. It is set while it is placed.
	Limit int
}

// A limited line counts for two customers: the owner of the cart, and the
// address that the order goes to.
func ofOwner(owner uuid.UUID) string  { return "owner:" + owner.String() }
func ofAddress(address string) string { return "email:" + address }

// customers are those that an order of an owner's counts for: not the address,
// where that has enough without it.
func (o *Order) customers(owner uuid.UUID) []string {
	if o.OverLimit != "" {
		return []string{ofOwner(owner)}
	}
	return []string{ofOwner(owner), ofAddress(o.Email)}
}

// onShelf is the order as inventory sees it when it gives units back, for whom
// they were counted.
func (o *Order) onShelf(owner uuid.UUID) inventory.Order {
	units := inventory.Order{Customers: o.customers(owner)}
	for _, l := range o.Lines {
		line := inventory.Line{SKU: l.SKU, Quantity: l.Quantity}
		if l.Limited {
			line.Limit = l.Quantity
		}
		units.Lines = append(units.Lines, line)
	}
	return units
}

// The ways in which a checkout is refused. Nothing has changed and nothing was charged after any of them, and the key is
// free, except for ErrKeyReused and ErrInFlight, where the order under the key stands, and ErrBusy, where there may be one
// in the rare case that the database went away while committing it: a repeat with the key finds out.
var (
	ErrCartEmpty = errors.New("the cart is empty")
	ErrKeyReused = errors.New("the idempotency key was used for another request")
	ErrInFlight  = errors.New("a request with this idempotency key is being paid for")
	ErrProvider  = errors.New("the payment provider failed; nothing was charged")
	ErrBusy      = errors.New("the checkout is busy")
	ErrGone      = errors.New("the cart holds a product that the shop does not have any more")
)

// ProviderAway is a refusal because the payment provider has not answered lately. It wraps [ErrProvider].
type ProviderAway struct{ RetryIn time.Duration }

func (e *ProviderAway) Error() string { return "the payment provider is away; nothing was charged" }

// Unwrap makes it an [ErrProvider].
func (e *ProviderAway) Unwrap() error { return ErrProvider }

// ErrNotFound says that there is no such order, or that it is somebody else's.
var ErrNotFound = errors.New("no such order")

// OutOfStock is a refusal that lists the lines that can't be served.
type OutOfStock struct{ Lines []ShortLine }

// ShortLine is one line of [OutOfStock].
type ShortLine struct {
	SKU                  int64
	Code                 string
	Requested, Available int
	// Held is how many units are held by orders that are not paid for yet: they
	// are sold, or come back.
	Held int
}

func (e *OutOfStock) Error() string { return "not enough units left" }

// NotForSale is a refusal of a doorbuster outside its sale.
type NotForSale struct {
	Code     string
	StartsAt time.Time     // of the next sale; the zero time when it is over
	StartsIn time.Duration // until then, by the database's clock
}

func (e *NotForSale) Error() string { return e.Code + " is not on sale now" }

// LimitReached is a refusal because the customer has enough of a limited SKU.
type LimitReached struct {
	Code        string
	Limit, Left int // units per customer, and what this one may still buy
	// ByAddress says that orders of others to the same e-mail address are why.
	// How many units they have is not told: Limit and Left are 0 then.
	ByAddress bool
}

func (e *LimitReached) Error() string {
	if e.ByAddress {
		return "limit per customer reached for " + e.Code + ": orders to one e-mail address count together"
	}
	return "limit per customer reached for " + e.Code
}

// PriceChanged is a refusal because the total is dearer than the customer
// expects.
type PriceChanged struct{ Expected, Now money.Money }

func (e *PriceChanged) Error() string { return "the total is now " + e.Now.String() }
