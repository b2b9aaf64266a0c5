package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/catalog"
	"doorbuster/app/inventory"
	"doorbuster/app/money"
)

// Sizes of the caches, in answers. An entry keeps what it was made of beside its bytes: a product takes about 5 kB, a list
// page up to 250 kB, so these are 25 MB each at the most, and a front page has 20 products. Whoever walks the list for
// pages that nobody else asks for pushes out such pages only: front pages have a cache of their own, with room for all.
const (
	productCacheSize   = 5_000
	frontPageCacheSize = 500 // categories and one
	listCacheSize      = 100
)

// productPath is what stands before a slug.
const productPath = "/v1/products/"

// Bounds of a list page.
const (
	defaultLimit = 20
	maxLimit     = 100
	maxQuery     = 100 // runes of a search
)

// Product is a page of the catalogue as clients see it.
type Product struct {
	Slug        string `json:"slug" example:"aurora-55-oled-tv"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Category    string `json:"category" doc:"Slug of the category" example:"doorbusters"`
	SKUs        []SKU  `json:"skus" nullable:"false" minItems:"1"`
}

// SKU is what can be put into a cart.
type SKU struct {
	SKU            string                 `json:"sku" example:"AURORA-55-OLED"`
	Name           string                 `json:"name" example:"Standard"`
	Price          money.Money            `json:"price" doc:"What it costs now"`
	ListPrice      money.Money            `json:"list_price" doc:"What it costs outside a sale"`
	Availability   inventory.Availability `json:"availability" enum:"in_stock,low,sold_out"`
	MaxPerCustomer *int                   `json:"max_per_customer" doc:"Units that one customer can buy; null: no limit"`
	SaleOnly       bool                   `json:"sale_only" doc:"For sale only while its sale is open"`
	Sale           *Sale                  `json:"sale,omitempty" doc:"The sale that is open, or the next one"`
}

// Sale is a window of time with another price.
type Sale struct {
	Name     string      `json:"name" example:"Black Friday"`
	Price    money.Money `json:"price"`
	StartsAt time.Time   `json:"starts_at"`
	EndsAt   time.Time   `json:"ends_at"`
	Open     bool        `json:"open"`
}

// ProductList is a page of products.
type ProductList struct {
	Items      []Product `json:"items" nullable:"false"`
	NextCursor *string   `json:"next_cursor" doc:"Give it as cursor to get the next page; null on the last"`
}

// productAt is a product as it is sold at an instant of the database's clock.
func productAt(p *catalog.Product, units map[int64]int, now time.Time) Product {
	out := Product{Slug: p.Slug, Name: p.Name, Description: p.Description, Category: p.Category, SKUs: make([]SKU, len(p.SKUs))}
	for i := range p.SKUs {
		s := &p.SKUs[i]
		offer := s.At(now)
		out.SKUs[i] = SKU{
			SKU: s.Code, Name: s.Name, Price: offer.Price, ListPrice: s.List, SaleOnly: s.SaleOnly,
			Availability: inventory.Level(units[s.ID]),
		}
		if s.MaxPerCustomer > 0 {
			out.SKUs[i].MaxPerCustomer = &s.MaxPerCustomer
		}
		if offer.Sale != nil {
			out.SKUs[i].Sale = &Sale{offer.Sale.Name, offer.Sale.Price, offer.Sale.StartsAt, offer.Sale.EndsAt, offer.Open}
		}
	}
	return out
}

// openCatalogue makes the caches, on the connections of the catalogue.
func (a *App) openCatalogue(connections *pgxpool.Pool) {
	a.storefront.catalog, a.storefront.inventory = catalog.NewStore(connections), inventory.NewStore(connections)
	a.misses = newMissGate(int(connections.Config().MaxConns), missPatience)
	cache := func(size int, load loader) cacheConfig {
		return cacheConfig{size: size, load: load, gate: a.misses, news: a.news, log: a.log}
	}
	products := cache(productCacheSize, a.loadProduct)
	products.valid = func(slug string) bool { return validText(slug, maxQuery) }
	a.products = newAnswerCache(products)
	a.frontPages = newAnswerCache(cache(frontPageCacheSize, a.loadList))
	a.categories = newAnswerCache(cache(2, a.loadCategories)) // one answer: new, or asked for again
	lists := cache(listCacheSize, a.loadList)
	lists.searches = true
	a.lists = newAnswerCache(lists)
	a.skuIDs = newSKUIDs(a.catalog)
}

// getProduct serves one product. It is a plain handler, and not one of huma's, because it is the hottest read: see
// BenchmarkProductRead.
func (a *App) getProduct(w http.ResponseWriter, r *http.Request) {
	now := time.Now() // once: reading the clock is a tenth of what this costs
	answer, err := a.products.get(r.Context(), strings.TrimPrefix(r.URL.Path, productPath), now)
	if err != nil {
		a.writeProblem(w, r, err)
		return
	}
	answer.write(w, r)
}

// loadProduct reads a product and its stock for the cache.
func (a *App) loadProduct(ctx context.Context, slug string) (loaded, error) {
	p, dbNow, err := a.storefront.catalog.Product(ctx, slug)
	if err != nil {
		return loaded{}, err
	}
	units, err := a.storefront.inventory.Available(ctx, skuIDsOf([]catalog.Product{p}))
	if err != nil {
		return loaded{}, err
	}
	return loadedProduct(&p, units, dbNow), nil
}

func loadedProduct(p *catalog.Product, units map[int64]int, dbNow time.Time) loaded {
	return loaded{now: dbNow, render: func(now time.Time) ([]byte, string, time.Time, error) {
		body, err := encodeJSON(productAt(p, units, now))
		return body, "", p.NextChange(now), err
	}}
}

// listProducts serves a page of products.
func (a *App) listProducts(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	q, err := parseRawListQuery(r.URL.RawQuery)
	if err == nil {
		// The cursor's age is judged before the cache is asked, or a cached page would outlive it.
		_, err = decodeCursor(q.cursor, q.list(), now)
	}
	if err != nil {
		a.writeProblem(w, r, err)
		return
	}
	key, cache := pageKey{listQuery: q}, a.lists
	if q.category != "" {
		if key.category, err = a.categoryID(r.Context(), q.category, now); err != nil {
			a.writeProblem(w, r, err)
			return
		}
	}
	if q.cursor == "" && q.q == "" && q.limit == defaultLimit {
		cache = a.frontPages
	}
	answer, err := cache.get(r.Context(), key.encode(), now)
	if err != nil {
		a.writeProblem(w, r, err)
		return
	}
	answer.write(w, r)
}

// pageKey is what a page of products is cached under: its query and the id of the
// category that the query names, 0 for none.
type pageKey struct {
	category int64
	listQuery
}

func (k pageKey) encode() string {
	return strconv.FormatInt(k.category, 10) + "?" + k.listQuery.encode()
}

func parsePageKey(key string) (k pageKey, err error) {
	id, query, _ := strings.Cut(key, "?")
	if k.category, err = strconv.ParseInt(id, 10, 64); err != nil {
		return k, fmt.Errorf("key of a list page: %w", err)
	}
	k.listQuery, err = parseRawListQuery(query)
	return k, err
}

// categoryID returns the id of a category, or [catalog.ErrNotFound]. All of them
// are in memory, as old at most as any answer may be, so that PostgreSQL is not
// asked about names that somebody made up.
func (a *App) categoryID(ctx context.Context, slug string, now time.Time) (int64, error) {
	if _, err := a.categories.get(ctx, "", now); err != nil {
		return 0, err
	}
	id, ok := (*a.categoryIDs.Load())[slug]
	if !ok {
		return 0, fmt.Errorf("category %q: %w", slug, catalog.ErrNotFound)
	}
	return id, nil
}

// listQuery is what makes a page of products.
type listQuery struct {
	limit               int
	cursor, category, q string
}

func parseRawListQuery(raw string) (listQuery, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return listQuery{}, invalid("query", "", "is malformed")
	}
	return parseListQuery(values)
}

func parseListQuery(values url.Values) (listQuery, error) {
	query := listQuery{limit: defaultLimit}
	for name, given := range values {
		if len(given) != 1 {
			return query, invalid("query", name, "is given more than once")
		}
		value := given[0]
		switch name {
		case "limit":
			n, err := parseLimit(value)
			if err != nil {
				return query, err
			}
			query.limit = n
		case "cursor":
			query.cursor = value
		case "category":
			query.category = strings.ToLower(value) // as all slugs are
		case "q":
			query.q = strings.Join(strings.Fields(value), " ")
		default:
			return query, invalid("query", name, "is not a parameter of this list")
		}
		if name != "cursor" && !validText(value, maxQuery) {
			return query, invalid("query", name, fmt.Sprintf("is longer than %d characters or not valid UTF-8 text", maxQuery))
		}
	}
	return query, nil
}

// validText reports whether PostgreSQL can take a text: UTF-8 without NUL, and not endless.
func validText(s string, runes int) bool {
	return len(s) <= 4*runes && utf8.ValidString(s) && utf8.RuneCountInString(s) <= runes && !strings.ContainsRune(s, 0)
}

// list names the list that a cursor belongs to: the filter without the place in it.
func (q listQuery) list() string {
	return "products?" + url.Values{"category": {q.category}, "q": {q.q}}.Encode()
}

func (q listQuery) values() url.Values {
	v := url.Values{"limit": {strconv.Itoa(q.limit)}}
	for name, value := range map[string]string{"cursor": q.cursor, "category": q.category, "q": q.q} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func (q listQuery) encode() string { return q.values().Encode() }

// A page is a part of the catalogue and its stock, as PostgreSQL has it.
type page struct {
	query    listQuery
	products []catalog.Product // one more than asked for, if there is a next page
	units    map[int64]int     // by SKU
	now      time.Time         // by the database's clock
}

// loadList reads a page and its stock for the cache. The key is that of a [pageKey].
func (a *App) loadList(ctx context.Context, key string) (loaded, error) {
	p, err := a.readPage(ctx, key)
	if err != nil {
		return loaded{}, err
	}
	return p.list(), nil
}

func (a *App) readPage(ctx context.Context, key string) (page, error) {
	k, err := parsePageKey(key)
	if err != nil {
		return page{}, err
	}
	q := k.listQuery
	from, err := decodeCursor(q.cursor, q.list(), time.Now())
	if err != nil {
		return page{}, err
	}
	after, err := strconv.ParseInt(from.After, 10, 64)
	if from.After != "" && (err != nil || after < 0) {
		return page{}, invalid("query", "cursor", "is not a cursor of this shop")
	}
	// One more than asked for tells whether there is a next page.
	products, dbNow, err := a.storefront.catalog.Products(ctx,
		catalog.Filter{Category: k.category, Search: q.q, After: after, Limit: q.limit + 1})
	if err != nil {
		return page{}, err
	}
	units, err := a.storefront.inventory.Available(ctx, skuIDsOf(products))
	return page{query: q, products: products, units: units, now: dbNow}, err
}

// list is the page as the answer to a list.
func (p *page) list() loaded {
	return loaded{now: p.now, empty: len(p.products) == 0, render: func(now time.Time) ([]byte, string, time.Time, error) {
		return renderList(p.query, p.products, p.units, now)
	}}
}

// product is one of the page's, as the answer to who asks for that.
func (p *page) product(i int) loaded {
	product := p.products[i]
	units := map[int64]int{} // not those of the page: they would stay in memory with it
	for _, s := range product.SKUs {
		units[s.ID] = p.units[s.ID]
	}
	return loadedProduct(&product, units, p.now)
}

func renderList(q listQuery, products []catalog.Product, units map[int64]int, now time.Time) ([]byte, string, time.Time, error) {
	page := ProductList{Items: []Product{}}
	link := ""
	if len(products) > q.limit {
		products = products[:q.limit]
		next := cursor{q.list(), strconv.FormatInt(products[len(products)-1].ID, 10), time.Now().UTC().Truncate(time.Hour)}.encode()
		page.NextCursor = &next
		q.cursor = next
		link = "</v1/products?" + q.encode() + `>; rel="next"` // RFC 8288
	}
	var edge time.Time
	for i := range products {
		page.Items = append(page.Items, productAt(&products[i], units, now))
		if next := products[i].NextChange(now); !next.IsZero() && (edge.IsZero() || next.Before(edge)) {
			edge = next
		}
	}
	body, err := encodeJSON(page)
	return body, link, edge, err
}

func skuIDsOf(products []catalog.Product) []int64 {
	var ids []int64
	for _, p := range products {
		for _, s := range p.SKUs {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// encodeJSON is json.Marshal without the escapes that only matter inside HTML.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return buf.Bytes(), nil
}

// CategoryList is all categories.
type CategoryList struct {
	Items []Category `json:"items" nullable:"false"`
}

// Category groups products.
type Category struct {
	Slug string `json:"slug" example:"doorbusters"`
	Name string `json:"name" example:"Doorbusters"`
}

// listCategories serves all categories.
func (a *App) listCategories(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if r.URL.RawQuery != "" {
		a.writeProblem(w, r, invalid("query", "", "is not empty, and this list has no parameters"))
		return
	}
	answer, err := a.categories.get(r.Context(), "", now)
	if err != nil {
		a.writeProblem(w, r, err)
		return
	}
	answer.write(w, r)
}

// loadCategories reads the categories for the cache.
func (a *App) loadCategories(ctx context.Context, _ string) (loaded, error) {
	categories, err := a.storefront.catalog.Categories(ctx)
	if err != nil {
		return loaded{}, err
	}
	list, ids := CategoryList{Items: []Category{}}, map[string]int64{}
	for _, c := range categories {
		list.Items = append(list.Items, Category{Slug: c.Slug, Name: c.Name})
		ids[c.Slug] = c.ID
	}
	a.categoryIDs.Store(&ids)
	body, err := encodeJSON(list)
	// They do not depend on the time, so any clock will do.
	render := func(time.Time) ([]byte, string, time.Time, error) { return body, "", time.Time{}, nil }
	return loaded{now: time.Now(), render: render}, err
}
