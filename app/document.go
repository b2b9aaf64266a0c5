package app

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Tags of the OpenAPI document.
const (
	catalogueTag = "Catalogue"
	cartTag      = "Cart"
	checkoutTag  = "Checkout"
	orderTag     = "Orders"
	accountTag   = "Accounts"
	problemTag   = "Problems"
	healthTag    = "Health"
)

// sessionScheme names the cookie in the OpenAPI document.
const sessionScheme = "session"

// newDocument returns the OpenAPI document of the shop, before its operations. The
// cookie is the name of the one that holds a session.
func newDocument(cookie string) *huma.OpenAPI {
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Doorbuster", Version: "1",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			Description: "The storefront that stays open at midnight.\n\n" +
				"Every error is application/problem+json (RFC 9457); decide by its code. Its type leads to a page about it. " +
				"Also a path that does not exist (404), a method that does not fit (405, with Allow), and a body that comes with either and is cut short, slow " +
				"or too large (400, 408, 413) are answered so. " +
				"Only a request that is not HTTP as the shop speaks it has another answer, before the shop sees it, in text/plain: 400 (the request line, " +
				"Host or a header is malformed), 417 (an Expect that is not 100-continue; without a body), 431 (more than 20 KiB of headers), 501 (a " +
				"Transfer-Encoding that is not chunked) and 505 (another version of HTTP).\n\n" +
				"HEAD is answered as GET, without the body.",
		},
		Servers: []*huma.Server{{URL: "/", Description: "The shop that serves this document"}},
		Tags: []*huma.Tag{
			{Name: catalogueTag, Description: "What there is to buy. It needs no session, and anybody may keep an answer, and has to ask each time whether it is still true (304)."},
			{Name: cartTag, Description: "What somebody means to buy, at the prices of now."},
			{Name: checkoutTag, Description: "Order the cart and pay."},
			{Name: orderTag, Description: "What was ordered, by this session or account."},
			{Name: accountTag, Description: "Who is logged in."},
			{Name: problemTag, Description: "What the codes of problems mean."},
			{Name: healthTag, Description: "For load balancers and operators."},
		},
		Components: &huma.Components{
			Schemas:   huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			Responses: map[string]*huma.Response{},
			Headers:   headers(),
			SecuritySchemes: map[string]*huma.SecurityScheme{sessionScheme: {
				Type: "apiKey", In: "cookie", Name: cookie,
				Description: "An answer with Set-Cookie starts the session: the first unit in a cart, a registration or a log-in. It lasts a week.",
			}},
		},
	}
	return doc
}

// descriptions say of each operation what its name does not.
var descriptions = map[string]string{
	"list-products":   "A page of products, with prices and availability as they are now. The next page is in next_cursor, and in Link.",
	"list-categories": "All categories in one answer.",
	"get-product":     "A product with its SKUs, their prices, and the sale that is open or comes next.",

	"clear-cart":       "Takes out everything, the discount code too, and answers with the empty cart.",
	"get-cart":         "The cart at the prices of now; an empty one for who has none. A line says in problem why a checkout would refuse it.",
	"add-cart-item":    "Adds to the units that are in the cart. Without a session it starts one. It takes nothing off the shelf: a checkout does.",
	"set-cart-item":    "Sets the units of a SKU, whatever was in the cart before. Without a session it starts one.",
	"remove-cart-item": "Takes the SKU out, if it is in the cart, and answers with the cart.",
	discountOperation:  "The code replaces the one before it. The cart says what it takes off, or why it does not apply.",
	"remove-discount":  "Takes the code off, if there is one, and answers with the cart.",

	checkoutOperation: "Orders the whole cart and charges the payment token: 201 for a confirmed order, 202 for one whose payment the provider has not " +
		"answered yet, 402 for a declined one. A repeat with the same Idempotency-Key and body never buys twice, and gets the same answer " +
		"with Idempotent-Replayed.",
	"list-orders": "The newest first, those of the account or else of the session, cancelled ones too. The next page is in next_cursor, and in Link.",
	"get-order":   "An order of the account or else of the session. That of somebody else is not found.",

	registerOperation: "The new session is the account's, with the cart and the orders of the guest before: 201. An address that has an account is logged in with its password: 200.",
	logInOperation:    "The new session is the account's, with the cart and the orders of the guest before.",
	"who-am-i":        "The account of the session; 401 for a guest.",
	passwordOperation: "Takes the password that was good until now. This browser stays logged in, with a new session; all others are logged out.",
	logOutOperation:   "Ends the session. The account's cart stays with the account.",

	logOutEverywhereOperation: "Ends all sessions of the account, this one too.",

	"get-problem": "Answers with a page, or with JSON where Accept asks for it.",
	"livez":       "It asks for nothing that a new process would not mend: neither PostgreSQL nor Redis.",
	"readyz":      "503 while the worker drains. PostgreSQL or Redis being away makes no worker unready.",
	"health":      "Figures of the worker that answers.",
}

// finish takes out of the document what huma puts in and nothing uses: its own form
// of errors.
func finish(doc *huma.OpenAPI) {
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} {
		delete(doc.Components.Schemas.Map(), unused)
	}
}

// Names of headers in the OpenAPI document.
const (
	headerCacheControl    = "Cache-Control"
	headerRetryAfter      = "Retry-After"
	headerSetCookie       = "Set-Cookie"
	headerRateLimit       = "RateLimit"
	headerRateLimitPolicy = "RateLimit-Policy"
	headerReplayed        = "Idempotent-Replayed"
	headerAuthenticate    = "WWW-Authenticate"
	headerLink            = "Link"
	headerETag            = "ETag"
	headerLocation        = "Location"
)

// headers are the headers of the document's responses. All of them may be absent
// unless their name is in always.
func headers() map[string]*huma.Header {
	text := func(doc string) *huma.Header {
		return &huma.Header{Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	seconds, least := text("Seconds to wait before the same is asked for again, or for more of it"), 0.0
	seconds.Schema = &huma.Schema{Type: huma.TypeInteger, Minimum: &least}
	replayed := text("The answer repeats that of an earlier request with the same Idempotency-Key")
	replayed.Schema.Enum = []any{"true"}
	longest := maxRequestID
	id := text("Name of the request in the shop's log: the client's own, or one that the shop has made")
	id.Schema.MaxLength, id.Schema.Pattern = &longest, "^[A-Za-z0-9._-]+$"
	all := map[string]*huma.Header{
		headerRequestID:       id,
		headerWorker:          text("Which worker has answered"),
		headerCacheControl:    text("How long the answer may be kept, and by whom"),
		headerRetryAfter:      seconds,
		headerSetCookie:       text("A session that has started or ended, for the security scheme session"),
		headerRateLimit:       text("What is left: r units, and more in t seconds (draft-ietf-httpapi-ratelimit-headers)"),
		headerRateLimitPolicy: text("The quota that decided: q units in w seconds"),
		headerReplayed:        replayed,
		headerAuthenticate:    text("How to log in"),
		headerLink:            text(`The next page, with rel="next" (RFC 8288); absent on the last`),
		headerLocation:        text("The order"),
		headerETag:            text("Version of the answer, for If-None-Match"),
	}
	for name, h := range all {
		h.Required = slices.Contains(always, name)
	}
	return all
}

// always are the headers that no answer lacks that has them in the document. The
// master names a request only as its client did.
var always = []string{headerCacheControl, headerAuthenticate, headerETag}

// withHeaders refers to headers of the document.
func withHeaders(names ...string) map[string]*huma.Header {
	refs := map[string]*huma.Header{}
	for _, name := range names {
		refs[name] = &huma.Header{Ref: "#/components/headers/" + name}
	}
	return refs
}

// commonHeaders are those of every answer of the shop.
func commonHeaders(more ...string) map[string]*huma.Header {
	return withHeaders(append([]string{headerRequestID, headerWorker, headerCacheControl}, more...)...)
}

// headersOf are the headers of all answers of an operation that others do not have.
func headersOf(id string) (names []string) {
	switch id {
	case logInOperation, registerOperation, passwordOperation, discountOperation:
		names = append(names, headerRateLimit, headerRateLimitPolicy)
	}
	switch {
	case makesGuest[id], id == logInOperation, id == registerOperation, id == logOutOperation, id == logOutEverywhereOperation, id == passwordOperation:
		names = append(names, headerSetCookie)
	}
	return names
}

// customers completes the documentation of an operation that knows its customer.
// Its Errors are the statuses that it can be refused with besides those that all
// have: a body in a wrong form, a limit, a busy shop.
func customers(api huma.API, op huma.Operation) huma.Operation {
	statuses := append(op.Errors,
		http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable)
	if op.Method != http.MethodGet {
		statuses = append(statuses, http.StatusForbidden)
	}
	op.Errors, op.Responses = nil, map[string]*huma.Response{}
	own := headersOf(op.OperationID)
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = problemResponse(api, status, own...)
	}
	success := max(op.DefaultStatus, http.StatusOK)
	op.Responses[strconv.Itoa(success)] = &huma.Response{Description: http.StatusText(success), Headers: commonHeaders(own...)}
	if op.Security == nil {
		op.Security = []map[string][]string{{sessionScheme: {}}, {}} // one is made, or nobody has a cart
	}
	return op
}

// needsSession is the Security of an operation that nobody can use without a session.
var needsSession = []map[string][]string{{sessionScheme: {}}}

// strangers completes the documentation of an operation that knows nobody. Its
// Errors are the statuses that it can be refused with, besides those that all
// have: somebody may send a body to it, and in a wrong form.
func strangers(api huma.API, op huma.Operation) huma.Operation {
	statuses := append(op.Errors,
		http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusInternalServerError)
	op.Errors, op.Responses = nil, map[string]*huma.Response{}
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = problemResponse(api, status)
	}
	op.Security = []map[string][]string{}
	return op
}

// problemResponse describes the problems that a status can have. They are the same
// for all operations, and stand once in the document, unless an operation has
// headers of its own.
func problemResponse(api huma.API, status int, own ...string) *huma.Response {
	names := []string{}
	switch status {
	case http.StatusUnauthorized:
		names = append(names, headerAuthenticate)
	case http.StatusPaymentRequired:
		names = append(names, headerReplayed)
	case http.StatusConflict, http.StatusServiceUnavailable:
		names = append(names, headerRetryAfter)
	case http.StatusTooManyRequests:
		names = append(names, headerRetryAfter, headerRateLimit, headerRateLimitPolicy)
	}
	response := &huma.Response{
		Description: describeCodes(status),
		Headers:     commonHeaders(append(names, own...)...),
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schemaOf[Problem](api, "Problem")}},
	}
	if len(own) > 0 {
		return response
	}
	name := strings.ReplaceAll(http.StatusText(status), " ", "")
	api.OpenAPI().Components.Responses[name] = response
	return &huma.Response{Ref: "#/components/responses/" + name}
}

// schemaOf registers a type in the OpenAPI document and returns a reference to it.
func schemaOf[T any](api huma.API, name string) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, name)
}

// addExamples gives each request body of the document an example, made of those of
// its fields.
func addExamples(doc *huma.OpenAPI) error {
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put} {
			if op == nil {
				continue
			}
			for _, media := range op.RequestBody.Content {
				schema := media.Schema
				if schema.Ref != "" {
					schema = doc.Components.Schemas.SchemaFromRef(schema.Ref)
				}
				example := map[string]any{}
				for name, property := range schema.Properties {
					if len(property.Examples) > 0 {
						example[name] = property.Examples[0]
					} else if slices.Contains(schema.Required, name) {
						return fmt.Errorf("field %s of %s %s has no example", name, op.Method, path)
					}
				}
				media.Example = example
			}
		}
	}
	return nil
}
