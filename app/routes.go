package app

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/swaggest/swgui/v5emb"
)

// routes is the whole URL surface.
func (a *App) routes() (http.Handler, error) {
	doc := newDocument(a.sessions.scs.Cookie.Name)
	pages, err := newProblemPages()
	if err != nil {
		return nil, err
	}
	router := chi.NewRouter()
	r := router
	r.Use(middleware.GetHead) // HEAD wherever GET is (RFC 9110, section 9.1)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		a.writeProblem(w, r, problem("not-found", "There is no such page. See /docs."))
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
		a.writeProblem(w, r, problem("method-not-allowed",
			r.Method+" is not possible here. See /docs."))
	})

	r.Get("/livez", a.livez)
	r.Get("/readyz", a.readyz)
	r.Get("/health", a.health)
	r.Get("/v1/products", a.listProducts)
	r.Get("/v1/products/{slug}", a.getProduct)
	r.Get("/v1/categories", a.listCategories)

	r.Get(typePath+"{code}", pages.serve(a))

	strangers := newAPI(r, doc)
	documentCatalogue(strangers)
	documentProblems(strangers)
	documentHealth(strangers)
	known := func(gate *turnstile, routes func(huma.API), before ...func(http.Handler) http.Handler) {
		r.Group(func(r chi.Router) {
			r.Use(withRequestID, a.sameOrigin(), a.limitStrangers, a.wellFormed)
			r.Use(before...)
			r.Use(gate.pass(a), a.sessions.load(a))
			routes(newAPI(r, doc))
		})
	}
	known(a.customerGate, a.customerRoutes)
	known(a.checkoutGate, a.checkoutRoute, a.untilTimeLimit)

	finish(doc)
	if err := addExamples(doc); err != nil {
		return nil, err
	}
	openAPI, err := encodeJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("encode OpenAPI document: %w", err)
	}
	r.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Write(openAPI) //nolint:errcheck // the client may be gone
	})
	docs := a.problemForMissing(v5emb.New("Doorbuster", "/openapi.json", "/docs/"))
	r.Get("/docs", docs)
	r.Get("/docs/*", docs)
	r.Get("/", http.RedirectHandler("/docs", http.StatusFound).ServeHTTP)
	return a.edge(a.whole(a.shortcut(r))), nil
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
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Tags: []string{tag}, Summary: summary, Description: descriptions[id], Errors: errors,
	}
}

// checkoutRoute is where everybody wants to go at midnight, behind a turnstile of its own: nothing else waits for it, nor
// for the payment provider.
func (a *App) checkoutRoute(api huma.API) {
	op := operation(http.MethodPost, "/v1/checkout", checkoutOperation, checkoutTag, "Order the cart and pay",
		http.StatusPaymentRequired, http.StatusConflict)
	op.DefaultStatus = http.StatusCreated
	op.Description = "What is charged is expected_total_minor or less; without it, the total that an answer has last shown for this cart or " +
		"less. Otherwise it is price-changed with the new total: look at the cart, or give that total, or agree with a new Idempotency-Key.\n\n" +
		"A limit per customer counts for the account, or the guest's session, and for the e-mail address, however it is written. " +
		"That others have bought with the same address is said only after the payment method was verified, and nothing is charged then.\n\n" +
		"out-of-stock with Retry-After: payments under way hold units that may come back."
	handle(a, api, op, a.placeOrder)
	documentCheckout(api.OpenAPI().Paths[op.Path].Post)
}

// customerRoutes are the other routes that know their customer.
func (a *App) customerRoutes(api huma.API) {
	op := operation
	const (
		get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
		notFound, conflict  = http.StatusNotFound, http.StatusConflict
	)
	handle(a, api, op(get, "/v1/cart", "get-cart", cartTag, "See the cart"), a.getCart)
	handle(a, api, op(del, "/v1/cart", "clear-cart", cartTag, "Empty the cart, and use no discount code"), a.clearCart)
	add := op(post, "/v1/cart/items", "add-cart-item", cartTag, "Add units of a SKU", conflict)
	add.Description = "A visitor's first addition makes a guest with a cart, in the cookie of its answer. Wait for that before the next request: " +
		"two first ones at once make two guests, and the browser keeps one."
	handle(a, api, add, a.addItem)
	handle(a, api, op(put, "/v1/cart/items/{sku}", "set-cart-item", cartTag, "Set the units of a SKU", notFound, conflict), a.setItem)
	handle(a, api, op(del, "/v1/cart/items/{sku}", "remove-cart-item", cartTag, "Remove a SKU", notFound), a.removeItem)
	handle(a, api, op(put, "/v1/cart/discount", discountOperation, cartTag, "Use a discount code", conflict), a.setDiscount)
	handle(a, api, op(del, "/v1/cart/discount", "remove-discount", cartTag, "Use no discount code"), a.removeDiscount)

	handle(a, api, op(get, "/v1/orders", "list-orders", orderTag, "List your orders"), a.listOrders)
	handle(a, api, op(get, "/v1/orders/{id}", "get-order", orderTag, "See one of your orders", notFound), a.getOrder)
	a.accountRoutes(api)
}

// accountRoutes are those of who shops here.
func (a *App) accountRoutes(api huma.API) {
	op := operation
	const (
		get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
		unauthorized        = http.StatusUnauthorized
	)
	a.registerRoute(api)
	handle(a, api, op(post, "/v1/session", logInOperation, accountTag, "Log in", unauthorized), a.logIn)
	whoAmI := op(get, "/v1/session", "who-am-i", accountTag, "See who is logged in", unauthorized)
	whoAmI.Security = needsSession
	handle(a, api, whoAmI, a.whoAmI)
	logOut := op(del, "/v1/session", logOutOperation, accountTag, "Log out")
	logOut.DefaultStatus = http.StatusNoContent
	logOut.Description = "An account keeps its cart. A guest is known by the session alone, which ends: the cart and the view of its orders are gone."
	handle(a, api, logOut, a.logOut)
	everywhere := op(del, "/v1/sessions", logOutEverywhereOperation, accountTag, "Log out in all browsers", unauthorized)
	everywhere.DefaultStatus, everywhere.Security = http.StatusNoContent, needsSession
	handle(a, api, everywhere, a.logOutEverywhere)
	password := op(put, "/v1/account/password", passwordOperation, accountTag, "Change the password, and log out in all other browsers", unauthorized)
	password.DefaultStatus, password.Security = http.StatusNoContent, needsSession
	handle(a, api, password, a.changePassword)
}

// registerRoute makes an account, or logs in where there is one.
func (a *App) registerRoute(api huma.API) {
	op := operation(http.MethodPost, "/v1/account", registerOperation, accountTag, "Make an account and log in", http.StatusUnauthorized)
	op.DefaultStatus = http.StatusCreated
	handle(a, api, op, a.register)
	responses := api.OpenAPI().Paths[op.Path].Post.Responses
	known := *responses[strconv.Itoa(http.StatusCreated)]
	known.Description = "The address had an account with this password already, and is logged in"
	responses[strconv.Itoa(http.StatusOK)] = &known
}

// sameOrigin refuses unsafe requests that a browser sends for another site (CSRF), by Sec-Fetch-Site or Origin.
func (a *App) sameOrigin() func(http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.writeProblem(w, r, problem("cross-origin",
			"A browser sent this for another site. Only pages of this origin may change anything here."))
	}))
	return protection.Handler
}

// documentHealth describes the probes in the OpenAPI document.
func documentHealth(api huma.API) {
	add := func(path, id, summary string, schema *huma.Schema, statuses ...int) {
		op := strangers(api, operation(http.MethodGet, path, id, healthTag, summary))
		for _, status := range statuses {
			headers := commonHeaders()
			if status == http.StatusServiceUnavailable {
				headers = commonHeaders(headerRetryAfter)
			}
			op.Responses[strconv.Itoa(status)] = &huma.Response{
				Description: http.StatusText(status), Headers: headers, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
			}
		}
		api.OpenAPI().AddOperation(&op)
	}
	add("/livez", "livez", "Is the process alive?", schemaOf[Probe](api, "Probe"), http.StatusOK)
	add("/readyz", "readyz", "Should it get traffic?", schemaOf[Probe](api, "Probe"), http.StatusOK, http.StatusServiceUnavailable)
	add("/health", "health", "What is it doing?", schemaOf[Health](api, "Health"), http.StatusOK)
}

// problemForMissing answers in the form of all errors where a handler of files has
// none.
func (a *App) problemForMissing(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		files := &withoutMissing{ResponseWriter: w}
		next.ServeHTTP(files, r)
		if files.missing {
			a.writeProblem(w, r, problem("not-found", "There is no such page. See /docs."))
		}
	}
}

// withoutMissing keeps a 404 back.
type withoutMissing struct {
	http.ResponseWriter
	missing bool
}

func (w *withoutMissing) WriteHeader(status int) {
	if w.missing = status == http.StatusNotFound; !w.missing {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *withoutMissing) Write(b []byte) (int, error) {
	if w.missing {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}
