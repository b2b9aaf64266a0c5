package app

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/money"
)

// Order is an order as its buyer sees it.
type Order struct {
	ID           uuid.UUID     `json:"id" format:"uuid"`
	Number       string        `json:"number" doc:"For people. It is unique, and tells neither when nor how many" example:"1829403377"`
	Status       string        `json:"status" enum:"pending,confirmed,cancelled" doc:"pending: the payment provider has not answered yet. Repeat the request with the same Idempotency-Key, or read the order"`
	CancelReason string        `json:"cancel_reason,omitempty" enum:"declined,payment_failed,expired,customer_limit" doc:"Nothing was charged in any case"`
	Email        string        `json:"email"`
	Lines        []OrderLine   `json:"lines" nullable:"false" minItems:"1"`
	Subtotal     money.Money   `json:"subtotal"`
	Discount     OrderDiscount `json:"discount"`
	Total        money.Money   `json:"total"`
	CreatedAt    time.Time     `json:"created_at"`
}

// OrderDiscount is what a code took off: an amount of money, zero without a code.
type OrderDiscount struct {
	money.Money
	Code string `json:"code,omitempty"`
}

// OrderLine is one SKU as it was sold.
type OrderLine struct {
	SKU       string      `json:"sku"`
	Name      string      `json:"name"`
	Quantity  int         `json:"quantity"`
	UnitPrice money.Money `json:"unit_price"`
}

// OrderList is a page of orders.
type OrderList struct {
	Items      []Order `json:"items" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"Give it as cursor to get the next page; null on the last"`
}

func orderView(o *checkout.Order) Order {
	view := Order{
		ID: o.ID, Number: strconv.FormatInt(o.Number, 10), Status: string(o.Status), CancelReason: string(o.CancelReason), Email: o.Email,
		Lines: make([]OrderLine, len(o.Lines)), Subtotal: o.Subtotal, Discount: OrderDiscount{o.Discount, o.DiscountCode},
		Total: o.Total, CreatedAt: o.CreatedAt,
	}
	for i, l := range o.Lines {
		view.Lines[i] = OrderLine{l.Code, l.Name, l.Quantity, l.UnitPrice}
	}
	return view
}

type checkoutInput struct {
	// Not required here: an absent one is a 400 of its own (draft-ietf-httpapi-idempotency-key-header, section 2.7).
	IdempotencyKey string `header:"Idempotency-Key" doc:"A name of your choice for this attempt, such as a UUID, bare or in quotes. The same key never buys twice"`
	Body           struct {
		Email              string `json:"email" maxLength:"254" format:"email" example:"ada@example.com"`
		PaymentToken       string `json:"payment_token" minLength:"1" maxLength:"255" pattern:"^[A-Za-z0-9_-]+$" example:"tok_ok"`
		ExpectedTotalMinor *int64 `json:"expected_total_minor,omitempty" nullable:"true" minimum:"0" doc:"Refuse a dearer total than this. Without it, or with null, the total counts that an answer has last shown for this cart"`
	}
}

// Resolve refuses a second key: huma would take the first and say nothing.
func (*checkoutInput) Resolve(ctx huma.Context) []error {
	n := 0
	ctx.EachHeader(func(name, _ string) {
		if name == headerIdempotencyKey {
			n++
		}
	})
	if n > 1 {
		return []error{secondKey{}}
	}
	return nil
}

// secondKey is huma's form of a 400 that names the header.
type secondKey struct{}

func (secondKey) Error() string  { return "is given more than once" }
func (secondKey) GetStatus() int { return http.StatusBadRequest }
func (e secondKey) ErrorDetail() *huma.ErrorDetail {
	return &huma.ErrorDetail{Location: "header." + headerIdempotencyKey, Message: e.Error()}
}

type checkoutOutput struct {
	Status     int
	Location   string `header:"Location"`
	Replayed   string `header:"Idempotent-Replayed" doc:"true: this answer repeats an earlier one"`
	RetryAfter string `header:"Retry-After" doc:"Seconds; with 202 alone"`
	Body       Order
}

// untilTimeLimit has the time of a checkout begin when its request has arrived
// as a whole: also what it waits at the turnstile counts.
func (a *App) untilTimeLimit(next http.Handler) http.Handler {
	limit := cmp.Or(a.cfg.Checkout.TimeLimit, checkout.TimeLimit)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// pendingPause is when whoever was told of a pending order may ask again.
const pendingPause = 2 * time.Second

// placeOrder is POST /v1/checkout.
func (a *App) placeOrder(ctx context.Context, in *checkoutInput) (*checkoutOutput, error) {
	key, err := parseIdempotencyKey(in.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	email, err := normalEmail(in.Body.Email)
	if err != nil {
		return nil, err
	}
	reader := sessionOf(ctx).reader()
	if reader.Owner == uuid.Nil {
		return nil, checkout.ErrCartEmpty
	}
	result, err := a.checkout.Checkout(ctx, checkout.Request{
		Owner: reader.Owner, Account: reader.Account, Key: key, Email: email, OldEmail: oldEmail(in.Body.Email),
		PaymentToken: in.Body.PaymentToken, ExpectedTotalMinor: in.Body.ExpectedTotalMinor,
	})
	if limit, ok := errors.AsType[*checkout.LimitReached](err); ok && limit.ByAddress {
		a.paymentDeclined(ctx) // somebody who could pay, and tries addresses
	}
	if err != nil {
		return nil, err
	}
	if result.Order.Status == checkout.Cancelled {
		p := problem("payment-declined",
			"The payment was declined. Nothing was charged, and the cart is as it was; try another card with a new Idempotency-Key.")
		p.OrderID, p.replayed = result.Order.ID.String(), result.Replayed
		if !result.Replayed {
			a.paymentDeclined(ctx)
		}
		return nil, p
	}
	out := &checkoutOutput{Location: "/v1/orders/" + result.Order.ID.String(), Body: orderView(&result.Order)}
	if result.Replayed {
		out.Replayed = "true"
	}
	if out.Status = http.StatusCreated; result.Order.Status == checkout.Pending {
		out.Status, out.RetryAfter = http.StatusAccepted, strconv.Itoa(int(pendingPause.Seconds()))
	}
	return out, nil
}

// documentCheckout completes what huma says of the checkout in the OpenAPI document.
func documentCheckout(op *huma.Operation) {
	created := op.Responses[strconv.Itoa(http.StatusCreated)]
	created.Headers = commonHeaders(headerLocation, headerReplayed)
	op.Responses[strconv.Itoa(http.StatusAccepted)] = &huma.Response{
		Description: "The order stands, and its units are held, but the payment provider has not answered yet",
		Headers:     commonHeaders(headerLocation, headerReplayed, headerRetryAfter), Content: created.Content,
	}
	key := op.Parameters[0]
	key.Required = true // see checkoutInput for why huma must not know
	key.Example = "7d9f1c52-4a37-4c53-9d0e-6a4f7f1c2b1e"
	least, most := 1, maxIdempotencyKey+len(`""`)
	key.Schema = &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most, Pattern: keyPattern}
}

const headerIdempotencyKey = "Idempotency-Key"

// keyPattern is the form of a key, bare or in quotes: visible ASCII without quotes,
// backslashes and commas.
const keyPattern = `^("[!#-+\x2D-\[\]-~]{1,255}"|[!#-+\x2D-\[\]-~]{1,255})$`

// maxIdempotencyKey is the longest key in bytes, as with Stripe.
const maxIdempotencyKey = 255

// parseIdempotencyKey reads the header: a Structured Field string (RFC 9651), in quotes, or the bare text that most
// clients send.
func parseIdempotencyKey(header string) (string, error) {
	refuse := func(code, detail string) error {
		p := problem(code, "Idempotency-Key "+detail)
		p.Errors = []FieldError{fieldError("header", headerIdempotencyKey, detail)}
		return p
	}
	key := strings.TrimSpace(header)
	if key == "" {
		return "", refuse("idempotency-key-missing", "is required: send a name of your choice for this attempt, such as a UUID")
	}
	if strings.HasPrefix(key, `"`) {
		if len(key) < 3 || !strings.HasSuffix(key, `"`) {
			return "", refuse("idempotency-key-malformed", "is not a text in quotes, nor one without")
		}
		key = key[1 : len(key)-1]
	}
	if len(key) > maxIdempotencyKey {
		return "", refuse("idempotency-key-malformed", "is longer than 255 characters")
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == ',' {
			return "", refuse("idempotency-key-malformed", "contains a character other than visible ASCII without quotes, backslashes and commas")
		}
	}
	return key, nil
}

type orderInput struct {
	// A text and not a UUID: what is not one is not found, like an order that is not there.
	ID string `path:"id" maxLength:"64" doc:"Id of the order. What is no UUID is not found" example:"01936b5e-8f3a-7c11-9a52-3f6f5d0b7c2e"`
}

type orderOutput struct{ Body Order }

func (a *App) getOrder(ctx context.Context, in *orderInput) (*orderOutput, error) {
	id, err := uuid.Parse(in.ID)
	if err != nil {
		return nil, checkout.ErrNotFound
	}
	order, err := a.checkout.Order(ctx, sessionOf(ctx).reader(), id)
	if err != nil {
		return nil, err
	}
	return &orderOutput{orderView(&order)}, nil
}

type ordersInput struct {
	Limit  int    `query:"limit" default:"20" minimum:"1" maximum:"100" doc:"Orders per page"`
	Cursor string `query:"cursor" maxLength:"2048" pattern:"^[A-Za-z0-9_-]*$" doc:"next_cursor of the page before"`
	Status string `query:"status" enum:"pending,confirmed,cancelled" doc:"Only orders with this status; without it all are listed, declined attempts too"`
}

type ordersOutput struct {
	Link string `header:"Link"`
	Body OrderList
}

// listOrders is the order history, the newest first.
func (a *App) listOrders(ctx context.Context, in *ordersInput) (*ordersOutput, error) {
	list := strings.TrimSuffix("orders "+in.Status, " ")
	from, err := decodeCursor(in.Cursor, list, time.Now())
	if err != nil {
		return nil, err
	}
	before := uuid.Max
	if from.After != "" {
		if before, err = uuid.Parse(from.After); err != nil {
			return nil, invalid("query", "cursor", "is not a cursor of this shop")
		}
	}
	orders, err := a.checkout.Orders(ctx, sessionOf(ctx).reader(), checkout.Page{Before: before, Limit: in.Limit + 1, Status: checkout.Status(in.Status)})
	if err != nil {
		return nil, err
	}
	out := &ordersOutput{Body: OrderList{Items: []Order{}}}
	if len(orders) > in.Limit {
		orders = orders[:in.Limit]
		next := cursor{list, orders[in.Limit-1].ID.String(), time.Now().UTC()}.encode()
		out.Body.NextCursor = &next
		out.Link = "</v1/orders?cursor=" + next + "&limit=" + strconv.Itoa(in.Limit)
		if in.Status != "" {
			out.Link += "&status=" + in.Status
		}
		out.Link += `>; rel="next"`
	}
	for i := range orders {
		out.Body.Items = append(out.Body.Items, orderView(&orders[i]))
	}
	return out, nil
}
