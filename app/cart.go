package app

import (
	"context"
	"errors"
	"strings"
	"time"

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
	SKU  string `path:"sku" maxLength:"64"`
	Body struct {
		Quantity int `json:"quantity" minimum:"1" maximum:"1000" example:"2"`
	}
}

type itemInput struct {
	SKU string `path:"sku" maxLength:"64"`
}

type discountInput struct {
	Body struct {
		Code string `json:"code" minLength:"3" maxLength:"32" pattern:"^[A-Za-z0-9]+$" example:"WELCOME10"`
	}
}

func (a *App) getCart(ctx context.Context, _ *struct{}) (*cartOutput, error) {
	owner, ok := sessionOf(ctx).owner()
	if !ok {
		return a.showCart(ctx, cart.Cart{})
	}
	c, err := a.carts.Get(ctx, owner)
	if err != nil {
		return nil, err
	}
	return a.showCart(ctx, c)
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
	if err := a.carts.Add(ctx, owner, sku, in.Body.Quantity); err != nil {
		return nil, err
	}
	return a.getCart(ctx, nil)
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
	if err := a.carts.Set(ctx, owner, sku, in.Body.Quantity); err != nil {
		return nil, err
	}
	return a.getCart(ctx, nil)
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

func (a *App) setDiscount(ctx context.Context, in *discountInput) (*cartOutput, error) {
	code := strings.ToUpper(in.Body.Code)
	owner, ok := sessionOf(ctx).owner()
	if !ok {
		return nil, cart.ErrNoCart
	}
	discount, err := a.discounts.Discount(ctx, code)
	if err != nil {
		return nil, err
	}
	if discount == nil {
		return nil, invalid("body", "code", "is not a discount code of this shop")
	}
	a.rightDiscount(ctx)
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

// showCart prices a cart as a checkout would at this moment.
func (a *App) showCart(ctx context.Context, c cart.Cart) (*cartOutput, error) {
	zero := money.Money{Currency: defaultCurrency}
	out := &cartOutput{Cart{Items: []CartItem{}, Subtotal: zero, Total: zero}}
	if len(c.Lines) == 0 && c.Discount == "" {
		return out, nil
	}
	ids := make([]int64, len(c.Lines))
	for i, l := range c.Lines {
		ids[i] = l.SKU
	}
	skus, now, err := a.catalog.SKUs(ctx, ids)
	if err != nil {
		return nil, err
	}
	units, err := a.inventory.Available(ctx, ids)
	if err != nil {
		return nil, err
	}
	var lines []pricing.Line
	for _, l := range c.Lines {
		sku := skus[l.SKU]
		price := sku.At(now).Price
		total, err := price.Times(l.Quantity)
		if err != nil {
			return nil, err
		}
		out.Body.Items = append(out.Body.Items, CartItem{
			sku.Code, sku.ProductSlug, sku.Title(), l.Quantity, price, total,
			inventory.Level(units[l.SKU]),
		})
		lines = append(lines, pricing.Line{Unit: price, Quantity: l.Quantity})
	}
	if err := a.showTotals(ctx, &out.Body, lines, c.Discount, now); err != nil {
		return nil, err
	}
	return out, nil
}

func (a *App) showTotals(ctx context.Context, c *Cart, lines []pricing.Line, code string, now time.Time) error {
	var discount *pricing.Discount
	if code != "" {
		var err error
		if discount, err = a.discounts.Discount(ctx, code); err != nil {
			return err
		}
	}
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
