// Buyer buys with a client that oapi-codegen makes of the OpenAPI document, and
// with nothing else that this repository knows: what the document leaves out, it
// can't do.
//
//	go run ./buyer http://localhost:3000
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"
	"time"

	"github.com/oapi-codegen/runtime/types"

	"doorbuster/contract/shop"
)

// patience bounds the whole purchase.
const patience = time.Minute

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: buyer URL of the shop")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := buy(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "buyer:", err)
		os.Exit(1)
	}
	fmt.Println("the generated client bought, repeated, was refused and was limited as the document says")
}

// buyer is somebody with cookies.
type buyer struct {
	*shop.ClientWithResponses
}

func newBuyer(url string) (*buyer, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client, err := shop.NewClientWithResponses(url, shop.WithHTTPClient(&http.Client{Jar: jar}))
	return &buyer{client}, err
}

func buy(ctx context.Context, url string) error {
	b, err := newBuyer(url)
	if err != nil {
		return err
	}
	// Nobody is logged in, and the session is what is missing.
	who, err := b.WhoAmIWithResponse(ctx)
	if err != nil || who.ApplicationproblemJSON401 == nil || who.ApplicationproblemJSON401.Code != shop.ProblemCodeNotLoggedIn {
		return unexpected("who am I, without a session", who, err)
	}
	sku, err := b.firstInStock(ctx)
	if err != nil {
		return err
	}
	wrong, err := b.AddCartItemWithResponse(ctx, shop.AddCartItemJSONRequestBody{Sku: sku, Quantity: 0})
	if err != nil || wrong.ApplicationproblemJSON422 == nil || (*wrong.ApplicationproblemJSON422.Errors)[0].Field != "quantity" {
		return unexpected("no units at all", wrong, err)
	}
	cart, err := b.AddCartItemWithResponse(ctx, shop.AddCartItemJSONRequestBody{Sku: sku, Quantity: 1})
	if err != nil || cart.JSON200 == nil || len(cart.JSON200.Items) != 1 {
		return unexpected("add one unit", cart, err)
	}
	if err := b.order(ctx, cart.JSON200.Total.AmountMinor); err != nil {
		return err
	}
	return b.guessPasswords(ctx)
}

// order checks out, also with another total than that of the cart, twice with one
// key, and once more when there is nothing left to order.
func (b *buyer) order(ctx context.Context, total int64) error {
	checkout := func(key string, total int64) (*shop.CheckoutResponse, error) {
		return b.CheckoutWithResponse(ctx, &shop.CheckoutParams{IdempotencyKey: key}, shop.CheckoutJSONRequestBody{
			Email: "ada@example.com", PaymentToken: "tok_ok", ExpectedTotalMinor: &total,
		})
	}
	other, err := checkout(rand.Text(), total-1)
	if err != nil || other.ApplicationproblemJSON409 == nil || other.ApplicationproblemJSON409.Code != shop.ProblemCodePriceChanged ||
		other.ApplicationproblemJSON409.Total.AmountMinor != total {
		return unexpected("a checkout for another total", other, err)
	}
	key := rand.Text()
	first, err := checkout(key, total)
	if err != nil || first.JSON201 == nil {
		return unexpected("a checkout", first, err)
	}
	again, err := checkout(key, total)
	if err != nil || again.JSON201 == nil || again.JSON201.Id != first.JSON201.Id || again.Headers201.IdempotentReplayed == nil {
		return unexpected("the same checkout again", again, err)
	}
	order, err := b.GetOrderWithResponse(ctx, first.JSON201.Id.String())
	if err != nil || order.JSON200 == nil || order.JSON200.Status != shop.OrderStatusConfirmed {
		return unexpected("the order", order, err)
	}
	empty, err := checkout(rand.Text(), total)
	if err != nil || empty.ApplicationproblemJSON409 == nil || empty.ApplicationproblemJSON409.Code != shop.ProblemCodeCartEmpty {
		return unexpected("a checkout of nothing", empty, err)
	}
	page, err := b.GetProblemWithResponse(ctx, shop.GetProblemParamsCode(empty.ApplicationproblemJSON409.Code))
	if err != nil || page.StatusCode() != http.StatusOK {
		return unexpected("the page of that problem", page, err)
	}
	return nil
}

// firstInStock finds something to buy, page by page.
func (b *buyer) firstInStock(ctx context.Context) (sku string, err error) {
	var cursor *string
	for {
		page, err := b.ListProductsWithResponse(ctx, &shop.ListProductsParams{Cursor: cursor})
		if err != nil || page.JSON200 == nil {
			return "", unexpected("a page of products", page, err)
		}
		for _, product := range page.JSON200.Items {
			for _, sku := range product.Skus {
				if !sku.SaleOnly && sku.Availability == shop.SKUAvailabilityInStock {
					return sku.Sku, nil
				}
			}
		}
		if cursor = page.JSON200.NextCursor; cursor == nil {
			return "", fmt.Errorf("there is nothing to buy")
		}
	}
}

// guessPasswords goes on until the shop has had enough.
func (b *buyer) guessPasswords(ctx context.Context) error {
	email := rand.Text() + "@example.com"
	for {
		r, err := b.LogInWithResponse(ctx, shop.LogInJSONRequestBody{Email: types.Email(email), Password: "wrong password"})
		switch {
		case err != nil:
			return unexpected("a wrong password", r, err)
		case r.ApplicationproblemJSON401 != nil && r.ApplicationproblemJSON401.Code == shop.ProblemCodeWrongCredentials:
		case r.ApplicationproblemJSON503 != nil && r.Headers503.RetryAfter != nil: // hashing has a budget
			select {
			case <-time.After(time.Duration(*r.Headers503.RetryAfter) * time.Second):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case r.ApplicationproblemJSON429 != nil && r.Headers429.RetryAfter != nil && r.Headers429.RateLimit != nil:
			return nil
		default:
			return unexpected("a wrong password", r, nil)
		}
	}
}

// answer is an answer of any operation.
type answer interface {
	Status() string
	GetBody() []byte
}

// unexpected says what was answered instead of what was hoped for.
func unexpected(what string, a answer, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: unexpected answer %s: %s", what, a.Status(), cmp.Or(string(a.GetBody()), "(no body)"))
}
