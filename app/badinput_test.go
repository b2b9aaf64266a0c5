package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app"
)

// books is everything that a request could change, as text.
func (s *shop) books() string {
	s.t.Helper()
	return one[string](s, `SELECT concat_ws(E'\n',
		(SELECT string_agg(c::text, E'\n' ORDER BY owner_id) FROM cart c),
		(SELECT string_agg(l::text, E'\n' ORDER BY owner_id, sku_id) FROM cart_line l),
		(SELECT string_agg(o::text, E'\n' ORDER BY id) FROM orders o),
		(SELECT string_agg(p::text, E'\n' ORDER BY order_id) FROM payment p),
		(SELECT string_agg(s::text, E'\n' ORDER BY sku_id) FROM stock s),
		(SELECT string_agg(a::text, E'\n' ORDER BY sku_id, customer) FROM allowance a),
		(SELECT string_agg(a::text, E'\n' ORDER BY id) FROM account a))`)
}

// Bad input is a problem that names the field, and nothing changes.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := open(t)
	other := s.visitor()
	other.add(kettle, 1)
	var theirs app.Order
	other.buy("theirs", "tok_ok", "").want(http.StatusCreated, &theirs)
	v := s.visitor()
	v.add(kettle, 1)
	const checkout = `{"email": "a@example.com", "payment_token": "tok_ok"}`
	mebibyte := `{"sku": "` + strings.Repeat("A", 1<<20) + `", "quantity": 1}`
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, field              string // the field that the problem must name; "" for a body as a whole
	}{
		{"malformed JSON", "POST", "/v1/cart/items", `{"sku": `, nil, 400, "invalid-request", ""},
		{"not an object", "POST", "/v1/cart/items", `[]`, nil, 422, "invalid-request", ""},
		{"trailing data", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 1} {}`, nil, 400, "invalid-request", ""},
		{"empty body", "POST", "/v1/cart/items", ``, nil, 400, "invalid-request", ""},
		{"unknown field", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 1, "price": 1}`, nil, 422, "invalid-request", "price"},
		{"missing field", "POST", "/v1/cart/items", `{"quantity": 1}`, nil, 422, "invalid-request", "sku"},
		{"wrong type", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": "1"}`, nil, 422, "invalid-request", "quantity"},
		{"wrong type of sku", "POST", "/v1/cart/items", `{"sku": 7, "quantity": 1}`, nil, 422, "invalid-request", "sku"},
		{"null", "POST", "/v1/cart/items", `{"sku": null, "quantity": 1}`, nil, 422, "invalid-request", "sku"},
		{"zero", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 0}`, nil, 422, "invalid-request", "quantity"},
		{"negative", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": -1}`, nil, 422, "invalid-request", "quantity"},
		{"fraction", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 1.5}`, nil, 422, "invalid-request", "quantity"},
		{"too many", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 100000}`, nil, 422, "invalid-request", "quantity"},
		{"overflow of 32 bits", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 4294967297}`, nil, 422, "invalid-request", "quantity"},
		{"overflow of 64 bits", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 18446744073709551617}`, nil, 422, "invalid-request", "quantity"},
		{"endless number", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 1e309}`, nil, 422, "invalid-request", "quantity"},
		{"unknown SKU", "POST", "/v1/cart/items", `{"sku": "NONSENSE", "quantity": 1}`, nil, 422, "invalid-request", "sku"},
		{"SKU that is no text", "POST", "/v1/cart/items", `{"sku": "\u0000", "quantity": 1}`, nil, 422, "invalid-request", "sku"},
		{"1 MiB", "POST", "/v1/cart/items", mebibyte, nil, 413, "too-large", ""},
		{"form", "POST", "/v1/cart/items", `sku=KETTLE`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported-media-type", ""},
		{"unknown SKU in path", "PUT", "/v1/cart/items/NONSENSE", `{"quantity": 1}`, nil, 404, "not-found", ""},
		{"zero by PUT", "PUT", "/v1/cart/items/KETTLE", `{"quantity": 0}`, nil, 422, "invalid-request", "quantity"},
		{"another case", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 1, "QUANTITY": -5}`, nil, 422, "invalid-request", "QUANTITY"},
		{"another case alone", "POST", "/v1/cart/items", `{"SKU": "KETTLE", "quantity": 1}`, nil, 422, "invalid-request", "SKU"},
		{"another k", "POST", "/v1/cart/items", `{"s\u212au": "KETTLE", "quantity": 1}`, nil, 422, "invalid-request", "sku"},
		{"gzip", "POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 1}`, []string{"Content-Encoding", "gzip"}, 415, "unsupported-media-type", ""},
		{"unknown discount", "PUT", "/v1/cart/discount", `{"code": "NONSENSE"}`, nil, 422, "invalid-request", "code"},
		{"malformed discount", "PUT", "/v1/cart/discount", `{"code": "a b"}`, nil, 422, "invalid-request", "code"},

		{"no key", "POST", "/v1/checkout", checkout, nil, 400, "idempotency-key-missing", "Idempotency-Key"},
		{"half a quote", "POST", "/v1/checkout", checkout, []string{"Idempotency-Key", `"abc`}, 400, "idempotency-key-malformed", "Idempotency-Key"},
		{"nothing in quotes", "POST", "/v1/checkout", checkout, []string{"Idempotency-Key", `""`}, 400, "idempotency-key-malformed", "Idempotency-Key"},
		{"space in key", "POST", "/v1/checkout", checkout, []string{"Idempotency-Key", `a b`}, 400, "idempotency-key-malformed", "Idempotency-Key"},
		{"long key", "POST", "/v1/checkout", checkout, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "idempotency-key-malformed", "Idempotency-Key"},
		{"no e-mail", "POST", "/v1/checkout", `{"payment_token": "tok_ok"}`, []string{"Idempotency-Key", "k"}, 422, "invalid-request", "email"},
		{"malformed e-mail", "POST", "/v1/checkout", `{"email": "a@", "payment_token": "tok_ok"}`, []string{"Idempotency-Key", "k"}, 422, "invalid-request", "email"},
		{"e-mail with a name", "POST", "/v1/checkout", `{"email": "A <a@example.com>", "payment_token": "tok_ok"}`, []string{"Idempotency-Key", "k"}, 422, "invalid-request", "email"},
		{"no token", "POST", "/v1/checkout", `{"email": "a@example.com"}`, []string{"Idempotency-Key", "k"}, 422, "invalid-request", "payment_token"},
		{"negative total", "POST", "/v1/checkout", `{"email": "a@example.com", "payment_token": "tok_ok", "expected_total_minor": -1}`, []string{"Idempotency-Key", "k"}, 422, "invalid-request", "expected_total_minor"},
		{"total beyond 64 bits", "POST", "/v1/checkout", `{"email": "a@example.com", "payment_token": "tok_ok", "expected_total_minor": 9223372036854775808}`, []string{"Idempotency-Key", "k"}, 422, "invalid-request", "expected_total_minor"},
		{"another site", "POST", "/v1/checkout", checkout, []string{"Idempotency-Key", "k", "Sec-Fetch-Site", "cross-site"}, 403, "cross-origin", ""},
		{"another origin", "POST", "/v1/checkout", checkout, []string{"Idempotency-Key", "k", "Origin", "https://evil.example"}, 403, "cross-origin", ""},
		{"forged session", "POST", "/v1/checkout", checkout, []string{"Idempotency-Key", "k", "Cookie", "session=forged"}, 409, "cart-empty", ""},
		{"monstrous session", "GET", "/v1/orders/" + theirs.ID.String(), ``, []string{"Cookie", "session=" + strings.Repeat("x", 8000)}, 404, "not-found", ""},

		{"their order", "GET", "/v1/orders/" + theirs.ID.String(), ``, nil, 404, "not-found", ""},
		{"no such order", "GET", "/v1/orders/00000000-0000-0000-0000-000000000000", ``, nil, 404, "not-found", ""},
		{"order that is no id", "GET", "/v1/orders/1", ``, nil, 404, "not-found", ""},

		{"forged cursor", "GET", "/v1/products?cursor=forged", ``, nil, 422, "invalid-request", "cursor"},
		{"cursor that is no text", "GET", "/v1/products?cursor=%ff%00", ``, nil, 422, "invalid-request", "cursor"},
		{"forged cursor of orders", "GET", "/v1/orders?cursor=forged", ``, nil, 422, "invalid-request", "cursor"},
		{"limit zero", "GET", "/v1/products?limit=0", ``, nil, 422, "invalid-request", "limit"},
		{"limit too large", "GET", "/v1/products?limit=101", ``, nil, 422, "invalid-request", "limit"},
		{"limit no number", "GET", "/v1/products?limit=many", ``, nil, 422, "invalid-request", "limit"},
		{"limit of orders", "GET", "/v1/orders?limit=1.5", ``, nil, 422, "invalid-request", "limit"},
		{"unknown parameter", "GET", "/v1/products?sort=price", ``, nil, 422, "invalid-request", "sort"},
		{"unknown parameter of orders", "GET", "/v1/orders?sort=price", ``, nil, 422, "invalid-request", "sort"},
		{"malformed query", "GET", "/v1/products?limit=%zz", ``, nil, 422, "invalid-request", ""},
		{"malformed query of orders", "GET", "/v1/orders?limit=%zz", ``, nil, 422, "invalid-request", ""},
		{"parameter of categories", "GET", "/v1/categories?q=a", ``, nil, 422, "invalid-request", ""},
		{"long search", "GET", "/v1/products?q=" + strings.Repeat("a", 101), ``, nil, 422, "invalid-request", "q"},
		{"search that is no text", "GET", "/v1/products?q=%00", ``, nil, 422, "invalid-request", "q"},

		{"short password", "POST", "/v1/account", `{"email": "a@example.com", "password": "short"}`, nil, 422, "invalid-request", "password"},
		{"endless password", "POST", "/v1/account", `{"email": "a@example.com", "password": "` + strings.Repeat("p", 300) + `"}`, nil, 422, "invalid-request", "password"},
		{"password in another case", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "PASSWORD": ""}`, nil, 422, "invalid-request", "PASSWORD"},
		{"half a character in e-mail", "POST", "/v1/account", `{"email": "a\ud800@example.com", "password": "long enough"}`, nil, 400, "invalid-request", ""},
		{"half a character in password", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough\udfff"}`, nil, 400, "invalid-request", ""},
		{"no UTF-8 in password", "POST", "/v1/account", "{\"email\": \"a@example.com\", \"password\": \"long enough\xff\"}", nil, 400, "invalid-request", ""},
		{"NUL in name", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "name": "a\u0000b"}`, nil, 422, "invalid-request", "name"},
		{"NUL in e-mail", "POST", "/v1/session", `{"email": "a\u0000@example.com", "password": "long enough"}`, nil, 422, "invalid-request", "email"},
		{"common password", "POST", "/v1/account", `{"email": "a@example.com", "password": "Password1"}`, nil, 422, "invalid-request", "password"},
		{"blank password", "POST", "/v1/account", `{"email": "a@example.com", "password": "          "}`, nil, 422, "invalid-request", "password"},
		{"address as password", "POST", "/v1/account", `{"email": "a@example.com", "password": "A@example.com"}`, nil, 422, "invalid-request", "password"},
		{"decomposed short password", "POST", "/v1/account", `{"email": "a@example.com", "password": "e\u0301e\u0301e\u0301e\u0301"}`, nil, 422, "invalid-request", "password"},
		{"lone surrogate in password", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough\ud800"}`, nil, 400, "invalid-request", ""},
		{"lone surrogate at log-in", "POST", "/v1/session", `{"email": "a@example.com", "password": "long enough\udfff"}`, nil, 400, "invalid-request", ""},
		{"raw byte in password", "POST", "/v1/session", "{\"email\": \"a@example.com\", \"password\": \"long enough\xff\"}", nil, 400, "invalid-request", ""},
		{"lone surrogate in name", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "name": "\udc00\ud800"}`, nil, 400, "invalid-request", ""},
		{"line end in name", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "name": "a\r\nb"}`, nil, 422, "invalid-request", "name"},
		{"escape in name", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "name": "a\u001b[2Jb"}`, nil, 422, "invalid-request", "name"},
		{"override in name", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "name": "a\u202eb"}`, nil, 422, "invalid-request", "name"},
		{"isolate in name", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "name": "a\u2066b"}`, nil, 422, "invalid-request", "name"},
		{"line separator in name", "POST", "/v1/account", `{"email": "a@example.com", "password": "long enough", "name": "a\u2028b"}`, nil, 422, "invalid-request", "name"},
		{"this machine's address", "POST", "/v1/account", `{"email": "a@localhost", "password": "long enough"}`, nil, 422, "invalid-request", "email"},
		{"IP address", "POST", "/v1/account", `{"email": "a@127.0.0.1", "password": "long enough"}`, nil, 422, "invalid-request", "email"},
		{"leading hyphen", "POST", "/v1/account", `{"email": "a@-b.c", "password": "long enough"}`, nil, 422, "invalid-request", "email"},
		{"long local part", "POST", "/v1/account", `{"email": "` + strings.Repeat("a", 65) + `@example.com", "password": "long enough"}`, nil, 422, "invalid-request", "email"},
		{"unknown path", "GET", "/v1/nonsense", ``, nil, 404, "not-found", ""},
		{"wrong method", "DELETE", "/v1/products/kettle", ``, nil, 405, "method-not-allowed", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.books()
			var body any
			if c.body != "" || c.method == "POST" {
				body = c.body
			}
			r := v.do(c.method, c.path, body, c.header...)
			p := r.problem(c.status, c.code)
			named := c.field == ""
			for _, e := range p.Errors {
				named = named || e.Field == c.field
			}
			if !named {
				t.Errorf("got errors %+v, want one that names %q", p.Errors, c.field)
			}
			for _, secret := range []string{"long enough", "goroutine ", ".go:", "SQLSTATE"} {
				if strings.Contains(string(r.body), secret) {
					t.Errorf("the answer contains %q: %s", secret, r.body)
				}
			}
			if diff := cmp.Diff(before, s.books()); diff != "" {
				t.Errorf("something has changed: %s", diff)
			}
		})
	}
	// A key that was used for something else changes nothing either.
	v.buy("mine", "tok_ok", "a@example.com").want(http.StatusCreated, nil)
	v.add(kettle, 1)
	before := s.books()
	v.buy("mine", "tok_ok", "b@example.com").problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	v.buy("mine", "tok_slow", "a@example.com").problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	if diff := cmp.Diff(before, s.books()); diff != "" {
		t.Errorf("a reused key has changed something: %s", diff)
	}
	if line := s.log.line(`"level":"ERROR"`); line != "" {
		t.Errorf("bad input was logged as our error: %s", line)
	}
}

// Bodies that are broken on the wire: 400, and nothing of them is taken.
func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	s := open(t)
	before := s.books()
	const head = "POST /v1/cart/items HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"no chunk":         head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"wrong chunk":      head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"skuXX\r\n",
		"cut short":        head + "Content-Length: 100\r\n\r\n{\"sku\": \"KETTLE\"",
		"cut short, chunk": head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"sku",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, request)
			conn.(*net.TCPConn).CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			reply{t, name, resp.StatusCode, resp.Header, body, resp.Close}.problem(http.StatusBadRequest, "invalid-request")
		})
	}
	if diff := cmp.Diff(before, s.books()); diff != "" {
		t.Errorf("something has changed: %s", diff)
	}
}

// Media types are the same in any case; a method that does not fit is told those that do; two keys are none.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.do("POST", "/v1/cart/items", `{"sku": "KETTLE", "quantity": 1}`, "Content-Type", "Application/JSON; charset=UTF-8").want(http.StatusOK, nil)
	r := v.do("DELETE", "/v1/products/kettle", nil)
	r.problem(http.StatusMethodNotAllowed, "method-not-allowed")
	if diff := cmp.Diff([]string{"GET", "HEAD"}, r.header.Values("Allow")); diff != "" {
		t.Errorf("Allow: %s", diff)
	}
	v.do("HEAD", "/v1/products/last%2Dten", nil).want(http.StatusOK, nil)
	req, err := http.NewRequest(http.MethodPost, s.url+"/v1/checkout", strings.NewReader(`{"email": "a@example.com", "payment_token": "tok_ok"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"one", "two"}}
	resp, err := v.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	p := reply{t, "two keys", resp.StatusCode, resp.Header, body, resp.Close}.problem(http.StatusBadRequest, "invalid-request")
	if len(p.Errors) != 1 || p.Errors[0].Field != "Idempotency-Key" {
		t.Errorf("got errors %+v, want one that names Idempotency-Key", p.Errors)
	}
}

// A cursor is refused after a day, and by a list that it does not belong to.
func TestCursors(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	var page app.ProductList
	v.do("GET", "/v1/products?limit=5", nil).want(http.StatusOK, &page)
	for _, path := range []string{"/v1/products?category=plain&cursor=" + *page.NextCursor, "/v1/orders?cursor=" + *page.NextCursor} {
		p := v.do("GET", path, nil).problem(http.StatusUnprocessableEntity, "invalid-request")
		if !strings.Contains(p.Detail, "another list") {
			t.Errorf("%s: got %q", path, p.Detail)
		}
	}
	old := app.OldCursor("products?category=&q=", "5")
	p := v.do("GET", "/v1/products?cursor="+old, nil).problem(http.StatusUnprocessableEntity, "invalid-request")
	if !strings.Contains(p.Detail, "expired") {
		t.Errorf("got %q", p.Detail)
	}
}
