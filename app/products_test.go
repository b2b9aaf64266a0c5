package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"doorbuster/app"
)

// E1: the whole catalogue can be walked page by page, each product once, and the Link header says the same as the cursor.
func TestListWalksTheWholeCatalogue(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	seen := map[string]bool{}
	path := "/v1/products?limit=7"
	for path != "" {
		var page app.ProductList
		r := v.do("GET", path, nil).want(http.StatusOK, &page)
		for _, p := range page.Items {
			if seen[p.Slug] {
				t.Errorf("%s is listed twice", p.Slug)
			}
			seen[p.Slug] = true
		}
		link := r.header.Get("Link")
		path = ""
		if page.NextCursor != nil {
			path = "/v1/products?cursor=" + url.QueryEscape(*page.NextCursor) + "&limit=7"
			if want := "<" + path + `>; rel="next"`; link != want {
				t.Errorf("got Link %q, want %q", link, want)
			}
		} else if link != "" {
			t.Errorf("got Link %q on the last page", link)
		}
	}
	if len(seen) != 37 {
		t.Errorf("got %d products, want 37", len(seen))
	}
}

// E1: filters narrow the list, and a page of a filtered list goes on under the same filter.
func TestListFilters(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	count := func(query string) int {
		t.Helper()
		var page app.ProductList
		v.do("GET", "/v1/products?limit=100&"+query, nil).want(http.StatusOK, &page)
		return len(page.Items)
	}
	for query, want := range map[string]int{
		"category=plain": 30, "category=special": 7, "q=kettle": 1, "q=KETTLES": 1, "q=kettle+or+shirt": 2, "q=%22steel+kettle%22": 1,
		"q=thing+-09&category=plain": 29, "q=nothing+like+it": 0, "q=": 37, "category=plain&q=kettle": 0, "category=Plain": 30, "q=last-ten": 1, "q=PLAIN-0": 10, "q=kett": 1, "q=kett&category=special": 1,
	} {
		if got := count(query); got != want {
			t.Errorf("%s: got %d products, want %d", query, got, want)
		}
	}
	count("q=" + url.QueryEscape(`'"()&|!:*<->\ -- ;`)) // whatever it finds, it is not an error
	v.do("GET", "/v1/products?category=nonsense", nil).problem(http.StatusNotFound, "not-found")
	var categories app.CategoryList
	v.do("GET", "/v1/categories", nil).want(http.StatusOK, &categories)
	if len(categories.Items) != 2 || categories.Items[0] != (app.Category{Slug: "special", Name: "Special"}) {
		t.Errorf("got categories %v, want special and plain", categories.Items)
	}
}

// E1: one product, with the price of now, the window of its sale, its limit and its availability.
func TestProduct(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	get := func(slug string) app.Product {
		t.Helper()
		var p app.Product
		v.do("GET", "/v1/products/"+slug, nil).want(http.StatusOK, &p)
		return p
	}
	d := get("doorbuster").SKUs[0]
	if d.Price.Minor != 9900 || d.ListPrice.Minor != 50000 || d.Sale == nil || !d.Sale.Open || d.MaxPerCustomer == nil || *d.MaxPerCustomer != 1 || d.Availability != "low" || !d.SaleOnly {
		t.Errorf("doorbuster: got %+v", d)
	}
	n := get("tomorrow").SKUs[0]
	if n.Price.Minor != 30000 || n.Sale == nil || n.Sale.Open || n.Sale.Price.Minor != 10000 {
		t.Errorf("tomorrow: got %+v", n)
	}
	if o := get("sold-out").SKUs[0]; o.Availability != "sold_out" || o.Sale != nil || o.MaxPerCustomer != nil {
		t.Errorf("sold out: got %+v", o)
	}
	if shirt := get("shirt"); len(shirt.SKUs) != 2 || shirt.SKUs[1].SKU != shirtM || shirt.SKUs[1].Price.Minor != 1200 || shirt.SKUs[0].Price.Minor != 1500 {
		t.Errorf("shirt: got %+v", shirt.SKUs)
	}
	for _, slug := range []string{"nonsense", "%00", "%ff", strings.Repeat("a", 5000), "KETTLE"} {
		v.do("GET", "/v1/products/"+slug, nil).problem(http.StatusNotFound, "not-found")
	}
}

// E1: an ETag saves the body, for a list as for a product, and changes with the answer.
func TestConditionalReads(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	for _, path := range []string{"/v1/products/kettle", "/v1/products?limit=3"} {
		if head := v.do("HEAD", path, nil).want(http.StatusOK, nil); head.header.Get("Content-Length") == "" || head.header.Get("ETag") == "" {
			t.Errorf("HEAD %s: got %v", path, head.header)
		}
		first := v.do("GET", path, nil).want(http.StatusOK, nil)
		etag := first.header.Get("ETag")
		if got := first.header.Get("Cache-Control"); !strings.HasPrefix(got, "public, max-age=") {
			t.Errorf("%s: got Cache-Control %q", path, got)
		}
		for _, match := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
			r := v.do("GET", path, nil, "If-None-Match", match).want(http.StatusNotModified, nil)
			if len(r.body) != 0 || r.header.Get("ETag") != etag {
				t.Errorf("%s with %s: got %d bytes, ETag %s", path, match, len(r.body), r.header.Get("ETag"))
			}
		}
		v.do("GET", path, nil, "If-None-Match", `"other"`).want(http.StatusOK, nil)
		if vary := first.header.Get("Vary"); vary != "" || first.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got Vary %q, Set-Cookie %q: shared caches can't keep it", path, vary, first.header.Get("Set-Cookie"))
		}
	}
}
