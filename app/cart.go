package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/catalog"
	"doorbuster/app/inventory"
	"doorbuster/app/money"
	"doorbuster/app/pricing"
)

// defaultCurrency is that of an empty cart's totals.
const defaultCurrency = "USD"

// Cart is what somebody means to buy, at the prices of now.
type Cart struct {
	Items    []CartItem    `json:"items" nullable:"false"`
	Subtotal money.Money   `json:"subtotal"`
	Discount *CartDiscount `json:"discount,omitempty" doc:"Absent without a code"`
	Total    money.Money   `json:"total" doc:"Give its amount_minor as expected_total_minor at checkout"`
}

// CartItem is one SKU in a cart.
type CartItem struct {
	SKU          string                 `json:"sku"`
	Product      string                 `json:"product" doc:"Slug of the product"`
	Name         string                 `json:"name"`
	Quantity     int                    `json:"quantity"`
	UnitPrice    money.Money            `json:"unit_price"`
	Total        money.Money            `json:"total"`
	Availability inventory.Availability `json:"availability" enum:"in_stock,low,sold_out"`
	// What a checkout would say of this line alone.
	MaxPerCustomer *int       `json:"max_per_customer" doc:"Units that one customer can buy; null: no limit"`
	StartsAt       *time.Time `json:"starts_at,omitempty" doc:"When it can be bought: the start of its sale"`
	Problem        string     `json:"problem,omitempty" doc:"Why it can't be ordered now; checkout refuses it"`
}

// CartDiscount is a discount code on a cart.
type CartDiscount struct {
	Code    string      `json:"code"`
	Amount  money.Money `json:"amount" doc:"What it takes off now"`
	Problem string      `json:"problem,omitempty" doc:"Why it does not apply now; checkout refuses it"`
}

type cartOutput struct{ Body Cart }

type addItemInput struct {
	Body struct {
		SKU      string `json:"sku" minLength:"1" maxLength:"64" example:"AURORA-55-OLED"`
		Quantity int    `json:"quantity" minimum:"1" maximum:"1000" example:"1"`
	}
}

type setItemInput struct {
	SKU  string `path:"sku" maxLength:"64" doc:"Code of the SKU. One that the shop does not have is not found" example:"AURORA-55-OLED"`
	Body struct {
		Quantity int `json:"quantity" minimum:"1" maximum:"1000" example:"2"`
	}
}

type itemInput struct {
	SKU string `path:"sku" maxLength:"64" doc:"Code of the SKU. One that the shop does not have is not found" example:"AURORA-55-OLED"`
}

type discountInput struct {
	Body struct {
		Code string `json:"code" minLength:"3" maxLength:"32" pattern:"^[A-Za-z0-9]+$" example:"WELCOME10"`
	}
}

// emptyCart is what somebody sees who has nothing in the cart.
func emptyCart() *cartOutput {
	zero := money.Money{Currency: defaultCurrency}
	return &cartOutput{Cart{Items: []CartItem{}, Subtotal: zero, Total: zero}}
}

func (a *App) getCart(ctx context.Context, _ *struct{}) (*cartOutput, error) {
	out, _, err := a.lookAtCart(ctx)
	return out, err
}

// lookAtCart returns the cart and, beside it, the SKUs that were taken out because the shop does not have them any more: they
// have no name by which a customer could remove them.
func (a *App) lookAtCart(ctx context.Context) (*cartOutput, []int64, error) {
	owner, ok := sessionOf(ctx).owner()
	if !ok {
		return emptyCart(), nil, nil
	}
	c, err := a.carts.Get(ctx, owner)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]int64, len(c.Lines))
	for i, l := range c.Lines {
		ids[i] = l.SKU
	}
	var codes []string
	if c.Discount != "" {
		codes = append(codes, c.Discount)
	}
	batch := new(pgx.Batch)
	skus, now := catalog.QueueSKUs(batch, ids)
	discounts := pricing.QueueDiscounts(batch, codes)
	if err := a.pools.of[customerClass].SendBatch(ctx, batch).Close(); err != nil {
		return nil, nil, err
	}
	var gone []int64
	for _, id := range ids {
		if skus[id] == nil {
			if err := a.carts.Remove(ctx, owner, id); err != nil {
				return nil, nil, err
			}
			gone = append(gone, id)
		}
	}
	c.Lines = slices.DeleteFunc(c.Lines, func(l cart.Line) bool { return skus[l.SKU] == nil })
	out, err := a.showCart(ctx, owner, c, skus, discounts[c.Discount], *now)
	return out, gone, err
}

func (a *App) addItem(ctx context.Context, in *addItemInput) (*cartOutput, error) {
	sku, err := a.skuIDs.id(ctx, in.Body.SKU)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, invalid("body", "sku", "is not a SKU of this shop")
	}
	if err != nil {
		return nil, err
	}
	owner, err := sessionOf(ctx).ownerOrGuest(ctx)
	if err != nil {
		return nil, err
	}
	isNew, err := a.carts.Add(ctx, owner, sku, in.Body.Quantity)
	if err != nil {
		return nil, err
	}
	out, err := a.afterChange(ctx, owner, in.Body.SKU, sku, isNew)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, invalid("body", "sku", "is not a SKU of this shop")
	}
	return out, err
}

// errCurrencies says that a cart can't hold both: an order has one currency.
var errCurrencies = errors.New("the cart holds products of another currency; order or remove them first")

// afterChange looks at a cart of which a line was set or added to. It takes back what can't be in it: a SKU that is gone, which
// this worker still knew, and one of another currency than the lines before. That is found out here, where the cart is read
// anyway, and not before the change, which would cost every add a question.
func (a *App) afterChange(ctx context.Context, owner uuid.UUID, code string, sku int64, isNew bool) (*cartOutput, error) {
	out, gone, err := a.lookAtCart(ctx)
	if err != nil {
		return nil, err
	}
	if slices.Contains(gone, sku) {
		a.skuIDs.forget(code)
		return nil, fmt.Errorf("SKU %s: %w", code, catalog.ErrNotFound)
	}
	for _, item := range out.Body.Items {
		// A line that was there before stays: a login has brought it, and the customer can see and mend that.
		if isNew && item.SKU == code && item.UnitPrice.Currency != out.Body.Subtotal.Currency {
			if err := a.carts.Remove(ctx, owner, sku); err != nil {
				return nil, err
			}
			return nil, errCurrencies
		}
	}
	return out, nil
}

func (a *App) setItem(ctx context.Context, in *setItemInput) (*cartOutput, error) {
	sku, err := a.skuIDs.id(ctx, in.SKU)
	if err != nil {
		return nil, err
	}
	owner, err := sessionOf(ctx).ownerOrGuest(ctx)
	if err != nil {
		return nil, err
	}
	isNew, err := a.carts.Set(ctx, owner, sku, in.Body.Quantity)
	if err != nil {
		return nil, err
	}
	return a.afterChange(ctx, owner, in.SKU, sku, isNew)
}

func (a *App) removeItem(ctx context.Context, in *itemInput) (*cartOutput, error) {
	sku, err := a.skuIDs.id(ctx, in.SKU)
	if err != nil {
		return nil, err
	}
	if owner, ok := sessionOf(ctx).owner(); ok {
		if err := a.carts.Remove(ctx, owner, sku); err != nil {
			return nil, err
		}
	}
	return a.getCart(ctx, nil)
}

// clearCart takes everything out of the cart.
func (a *App) clearCart(ctx context.Context, _ *struct{}) (*cartOutput, error) {
	if owner, ok := sessionOf(ctx).owner(); ok {
		if err := a.carts.Empty(ctx, owner); err != nil {
			return nil, err
		}
	}
	return a.getCart(ctx, nil)
}

// LeftOut is what a cart had no room for.
type LeftOut struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// leftOut names lines as customers know them. What the shop does not have any
// more is missed by nobody.
func (a *App) leftOut(ctx context.Context, lines []cart.Line) ([]LeftOut, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	ids := make([]int64, len(lines))
	for i, l := range lines {
		ids[i] = l.SKU
	}
	skus, _, err := a.catalog.SKUs(ctx, ids)
	if err != nil {
		return nil, err
	}
	var out []LeftOut
	for _, l := range lines {
		if sku := skus[l.SKU]; sku != nil {
			out = append(out, LeftOut{sku.Code, l.Quantity})
		}
	}
	return out, nil
}

func (a *App) setDiscount(ctx context.Context, in *discountInput) (*cartOutput, error) {
	code := strings.ToUpper(in.Body.Code)
	owner, ok := sessionOf(ctx).owner()
	if !ok {
		a.noWrongGuess(ctx)
		return nil, cart.ErrNoCart
	}
	discount, err := a.discounts.Discount(ctx, code)
	if err == nil && discount == nil {
		return nil, invalid("body", "code", "is not a discount code of this shop")
	}
	a.noWrongGuess(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.carts.SetDiscount(ctx, owner, code); err != nil {
		return nil, err
	}
	return a.getCart(ctx, nil)
}

func (a *App) removeDiscount(ctx context.Context, _ *struct{}) (*cartOutput, error) {
	if owner, ok := sessionOf(ctx).owner(); ok {
		if err := a.carts.SetDiscount(ctx, owner, ""); err != nil && !errors.Is(err, cart.ErrNoCart) {
			return nil, err
		}
	}
	return a.getCart(ctx, nil)
}

// showCart prices a cart as a checkout would at this moment, and has the shop
// remember what it shows. The totals are those of the lines in the currency of
// the first.
func (a *App) showCart(
	ctx context.Context, owner uuid.UUID, c cart.Cart, skus map[int64]*catalog.SKU, discount *pricing.Discount, now time.Time,
) (*cartOutput, error) {
	out := emptyCart()
	var lines []pricing.Line
	ids := make([]int64, len(c.Lines))
	foreign := make([]bool, len(c.Lines))
	for i, l := range c.Lines {
		price := skus[l.SKU].At(now).Price
		ids[i], foreign[i] = l.SKU, len(lines) > 0 && price.Currency != lines[0].Unit.Currency
		if !foreign[i] {
			lines = append(lines, pricing.Line{Unit: price, Quantity: l.Quantity})
		}
	}
	if err := out.Body.add(lines, c.Discount, discount, now); err != nil {
		return nil, err
	}
	batch := new(pgx.Batch)
	cart.QueueShown(batch, owner, c, out.Body.Total)
	units := map[int64]int{}
	if len(ids) > 0 {
		units = inventory.QueueAvailable(batch, ids)
	}
	if batch.Len() > 0 {
		if err := a.pools.of[customerClass].SendBatch(ctx, batch).Close(); err != nil {
			return nil, fmt.Errorf("show cart: %w", err)
		}
	}
	for i, l := range c.Lines {
		item, err := cartItem(skus[l.SKU], l.Quantity, units[l.SKU], now)
		if err != nil {
			return nil, err
		}
		if foreign[i] {
			item.Problem = "is sold in another currency than the first line, and not in the total: remove the one or the other"
		}
		out.Body.Items = append(out.Body.Items, item)
	}
	return out, nil
}

// cartItem is one line as a checkout would see it, but for what the customer has bought before.
func cartItem(sku *catalog.SKU, quantity, units int, now time.Time) (CartItem, error) {
	offer := sku.At(now)
	total, err := offer.Price.Times(quantity)
	if err != nil {
		return CartItem{}, err
	}
	item := CartItem{
		SKU: sku.Code, Product: sku.ProductSlug, Name: sku.Title(), Quantity: quantity, UnitPrice: offer.Price, Total: total,
		Availability: inventory.Level(units),
	}
	if sku.MaxPerCustomer > 0 {
		item.MaxPerCustomer = &sku.MaxPerCustomer
	}
	switch {
	case !sku.Buyable(offer) && offer.Sale != nil:
		item.StartsAt, item.Problem = &offer.Sale.StartsAt, "can be bought when its sale has started, and its price may be another then"
	case !sku.Buyable(offer):
		item.Problem = "could be bought in a sale that is over"
	case units < quantity:
		item.Problem = fmt.Sprintf("there are only %d left", units)
		if units <= 0 {
			item.Problem = "is sold out"
		}
	case sku.MaxPerCustomer > 0 && quantity > sku.MaxPerCustomer:
		item.Problem = fmt.Sprintf("is limited to %d for each customer", sku.MaxPerCustomer)
	}
	return item, nil
}

// add adds up lines, and says what a code takes off them, which may be
// nobody's.
func (c *Cart) add(lines []pricing.Line, code string, discount *pricing.Discount, now time.Time) error {
	totals, err := pricing.Sum(lines, discount, now)
	refused, isRefused := errors.AsType[*pricing.RefusedDiscount](err)
	if err != nil && !isRefused {
		return err
	}
	if len(lines) > 0 {
		c.Subtotal, c.Total = totals.Subtotal, totals.Total
	}
	if code == "" {
		return nil
	}
	c.Discount = &CartDiscount{Code: code, Amount: money.Money{Minor: totals.Discount.Minor, Currency: c.Subtotal.Currency}}
	switch {
	case isRefused:
		c.Discount.Problem = refused.Reason
	case discount == nil:
		c.Discount.Problem = "does not exist"
	}
	return nil
}
