package app

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/swaggest/swgui/v5emb"
)

// routes is the whole URL surface.
func (a *App) routes() (http.Handler, error) {
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Doorbuster", Version: "1", Description: "The storefront that stays open at midnight. " +
			"Every error is application/problem+json; decide by its code."},
		Tags:       []*huma.Tag{{Name: "Catalogue"}, {Name: cartTag}, {Name: checkoutTag}, {Name: orderTag}, {Name: accountTag}, {Name: "Health"}},
		Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
	}
	router := chi.NewRouter()
	r := router
	r.Use(middleware.GetHead) // HEAD wherever GET is (RFC 9110, section 9.1)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		a.writeProblem(w, r, problem(http.StatusNotFound, "not-found", "There is no such thing here", "There is no such page. See /docs."))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
			as := method
			if method == http.MethodHead {
				as = http.MethodGet
			}
			if router.Match(chi.NewRouteContext(), as, r.URL.Path) {
				w.Header().Add("Allow", method) // RFC 9110, section 15.5.6
			}
		}
		a.writeProblem(w, r, problem(http.StatusMethodNotAllowed, "method-not-allowed", "The method does not fit",
			r.Method+" is not possible here. See /docs."))
	})

	r.Get("/livez", a.livez)
	r.Get("/readyz", a.readyz)
	r.Get("/health", a.health)
	r.Get("/v1/products", a.listProducts)
	r.Get("/v1/products/{slug}", a.getProduct)
	r.Get("/v1/categories", a.listCategories)

	a.documentCatalogue(newAPI(r, doc))
	a.documentHealth(newAPI(r, doc))
	customers := func(gate *turnstile, routes func(huma.API), before ...func(http.Handler) http.Handler) {
		r.Group(func(r chi.Router) {
			r.Use(withRequestID, a.sameOrigin(), a.limitStrangers, a.wellFormed)
			r.Use(before...)
			r.Use(gate.pass(a), a.sessions.load(a))
			routes(newAPI(r, doc))
		})
	}
	customers(a.customerGate, a.customerRoutes)
	customers(a.checkoutGate, a.checkoutRoute, a.untilTimeLimit)

	openAPI, err := encodeJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("encode OpenAPI document: %w", err)
	}
	r.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Write(openAPI) //nolint:errcheck // the client may be gone
	})
	docs := v5emb.New("Doorbuster", "/openapi.json", "/docs/")
	r.Get("/docs", docs.ServeHTTP)
	r.Get("/docs/*", docs.ServeHTTP)
	r.Get("/", http.RedirectHandler("/docs", http.StatusFound).ServeHTTP)
	return a.edge(a.shortcut(r)), nil
}

// shortcut takes the read of a product past the router, which is two thirds of what the handler costs otherwise (four of
// six allocations; see BenchmarkProductRead). The router has the route as well, for the other methods.
func (a *App) shortcut(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slug, ok := strings.CutPrefix(r.URL.Path, productPath); ok && r.Method == http.MethodGet && slug != "" && !strings.Contains(slug, "/") {
			a.getProduct(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// operation describes a route. The statuses are those of the problems that it can have, besides the ones that all have.
func operation(method, path, id, tag, summary string, errors ...int) huma.Operation {
	return huma.Operation{Method: method, Path: path, OperationID: id, Tags: []string{tag}, Summary: summary, Errors: errors}
}

// Tags of the OpenAPI document.
const (
	cartTag     = "Cart"
	checkoutTag = "Checkout"
	orderTag    = "Orders"
	accountTag  = "Accounts"
)

// checkoutRoute is where everybody wants to go at midnight, behind a turnstile of its own: nothing else waits for it, nor
// for the payment provider.
func (a *App) checkoutRoute(api huma.API) {
	op := operation(http.MethodPost, "/v1/checkout", checkoutOperation, checkoutTag, "Order the cart and pay",
		http.StatusPaymentRequired, http.StatusConflict)
	op.DefaultStatus = http.StatusCreated
	handle(a, api, op, a.placeOrder)
	responses := api.OpenAPI().Paths[op.Path].Post.Responses
	pending := *responses[strconv.Itoa(http.StatusCreated)]
	pending.Description = "The order stands, and its units are held, but the payment provider has not answered yet"
	responses[strconv.Itoa(http.StatusAccepted)] = &pending
	for _, p := range api.OpenAPI().Paths[op.Path].Post.Parameters {
		p.Required = true // its one parameter, the key: see checkoutInput for why huma must not know
	}
}

// customerRoutes are the other routes that know their customer.
func (a *App) customerRoutes(api huma.API) {
	op := operation
	const (
		get, post, put, del              = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
		unauthorized, notFound, conflict = 401, 404, 409
	)
	handle(a, api, op(get, "/v1/cart", "get-cart", cartTag, "See the cart"), a.getCart)
	handle(a, api, op(post, "/v1/cart/items", "add-cart-item", cartTag, "Add units of a SKU", conflict), a.addItem)
	handle(a, api, op(put, "/v1/cart/items/{sku}", "set-cart-item", cartTag, "Set the units of a SKU", notFound, conflict), a.setItem)
	handle(a, api, op(del, "/v1/cart/items/{sku}", "remove-cart-item", cartTag, "Remove a SKU", notFound), a.removeItem)
	handle(a, api, op(put, "/v1/cart/discount", discountOperation, cartTag, "Use a discount code", conflict), a.setDiscount)
	handle(a, api, op(del, "/v1/cart/discount", "remove-discount", cartTag, "Use no discount code"), a.removeDiscount)

	handle(a, api, op(get, "/v1/orders", "list-orders", orderTag, "List your orders"), a.listOrders)
	handle(a, api, op(get, "/v1/orders/{id}", "get-order", orderTag, "See one of your orders", notFound), a.getOrder)

	register := op(post, "/v1/account", registerOperation, accountTag, "Make an account and log in", conflict)
	register.DefaultStatus = http.StatusCreated
	handle(a, api, register, a.register)
	handle(a, api, op(post, "/v1/session", logInOperation, accountTag, "Log in", unauthorized), a.logIn)
	handle(a, api, op(get, "/v1/session", "who-am-i", accountTag, "See who is logged in", unauthorized), a.whoAmI)
	logOut := op(del, "/v1/session", "log-out", accountTag, "Log out")
	logOut.DefaultStatus = http.StatusNoContent
	handle(a, api, logOut, a.logOut)
}

// sameOrigin refuses unsafe requests that a browser sends for another site (CSRF), by Sec-Fetch-Site or Origin.
func (a *App) sameOrigin() func(http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.writeProblem(w, r, problem(http.StatusForbidden, "cross-origin", "The request comes from another site",
			"A browser sent this for another site. Only pages of this origin may change anything here."))
	}))
	return protection.Handler
}

// documentHealth describes the probes in the OpenAPI document.
func (a *App) documentHealth(api huma.API) {
	add := func(path, id, summary string, schema *huma.Schema, statuses ...string) {
		op := &huma.Operation{
			Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Tags: []string{"Health"},
			Responses: map[string]*huma.Response{},
		}
		for _, status := range statuses {
			op.Responses[status] = &huma.Response{Description: summary, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
		}
		api.OpenAPI().AddOperation(op)
	}
	add("/livez", "livez", "Is the process alive?", schemaOf[Probe](api, "Probe"), "200")
	add("/readyz", "readyz", "Should it get traffic?", schemaOf[Probe](api, "Probe"), "200", "503")
	add("/health", "health", "What is it doing?", schemaOf[Health](api, "Health"), "200")
}

// schemaOf registers a type in the OpenAPI document and returns a reference to it.
func schemaOf[T any](api huma.API, name string) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, name)
}
