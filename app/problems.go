package app

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// A kind is one kind of problem: what a code means, for programs and for people.
// [problem] makes one of it.
type kind struct {
	code   string
	status []int  // that it is answered with; the first is the usual one
	title  string // the same each time (RFC 9457, section 3.1.3)
	means  string // for the page of the code
	remedy string // the same: what a client does about it
}

// kinds are all problems that an answer of the shop can have. A new one is an
// entry here and a call of [problem]: the enum in the OpenAPI document, the texts
// of its responses and the page behind the type are made of this table. The
// entries are in the order of their codes.
var kinds = []kind{
	{
		code:   "busy",
		status: []int{http.StatusServiceUnavailable},
		title:  "The shop is busy",
		means:  "More requests came than the shop can work on, and this one has waited long enough.",
		remedy: "Send the same request again after Retry-After. A checkout keeps its Idempotency-Key.",
	},
	{
		code:   "cart-changed",
		status: []int{http.StatusConflict},
		title:  "The cart has changed",
		means:  "The cart held something that the shop does not have any more. It was taken out.",
		remedy: "Show the cart again, and let the customer decide.",
	},
	{
		code:   "cart-empty",
		status: []int{http.StatusConflict},
		title:  "The cart is empty",
		means:  "There is nothing to order, or the session has no cart. An order empties the cart, so a second checkout finds it so.",
		remedy: "Add something first. After a checkout whose answer was lost, repeat it with its own Idempotency-Key, or look at the orders.",
	},
	{
		code:   "cart-full",
		status: []int{http.StatusConflict},
		title:  "The cart is full",
		means:  "A cart holds a certain number of different SKUs, and this would be one more.",
		remedy: "Order or remove something first.",
	},
	{
		code:   "cross-origin",
		status: []int{http.StatusForbidden},
		title:  "The request comes from another site",
		means:  "A browser sent this for a page of another site. Only pages of the shop's own origin may change anything.",
		remedy: "Call the shop from its own origin, or from a program that is no browser.",
	},
	{
		code:   "customer-limit",
		status: []int{http.StatusConflict},
		title:  "The limit per customer is reached",
		means:  "The SKU is limited, and the customer would have more than that with this order. The line says how many can still be had, unless orders of others to the same e-mail address are why.",
		remedy: "Lower the quantity to available, or remove the line.",
	},
	{
		code:   "discount-refused",
		status: []int{http.StatusConflict},
		title:  "The discount code does not apply",
		means:  "The code on the cart has ended, is used up, or asks for a larger order.",
		remedy: "Remove the code or use another, and show the new total before the next checkout.",
	},
	{
		code:   "draining",
		status: []int{http.StatusServiceUnavailable},
		title:  "The worker is shutting down",
		means:  "The connection was about to be closed when the request came, and it was not begun.",
		remedy: "Send the same request again on a new connection.",
	},
	{
		code:   "idempotency-key-malformed",
		status: []int{http.StatusBadRequest},
		title:  "The Idempotency-Key header is malformed",
		means:  "An Idempotency-Key has 1 to 255 visible ASCII characters, without quotes, backslashes and commas.",
		remedy: "Send a UUID.",
	},
	{
		code:   "idempotency-key-missing",
		status: []int{http.StatusBadRequest},
		title:  "The Idempotency-Key header is missing",
		means:  "A checkout takes a name of the client's choice, so that a repeat can be told from a new order.",
		remedy: "Send a UUID, and the same one with each repeat of the same attempt.",
	},
	{
		code:   "idempotency-key-reused",
		status: []int{http.StatusUnprocessableEntity},
		title:  "The Idempotency-Key belongs to another request",
		means:  "The key was used before, with another body or by somebody else.",
		remedy: "Make a new key for a new attempt.",
	},
	{
		code:   "internal",
		status: []int{http.StatusInternalServerError},
		title:  "Something went wrong on our side",
		means:  "The shop has a fault. It is in its log under the request_id.",
		remedy: "Report the request_id. A repeat may be answered in the same way.",
	},
	{
		code:   "invalid-request",
		status: []int{http.StatusUnprocessableEntity, http.StatusBadRequest},
		title:  "The request is not valid",
		means:  "A part of the request is not as the OpenAPI document has it. The list of errors names each field.",
		remedy: "Correct the fields; a repeat is answered in the same way.",
	},
	{
		code:   "method-not-allowed",
		status: []int{http.StatusMethodNotAllowed},
		title:  "The method does not fit",
		means:  "There is such a path, but not with this method. Allow has the methods that there are.",
		remedy: "Use one of them.",
	},
	{
		code:   "mixed-currencies",
		status: []int{http.StatusConflict},
		title:  "An order has one currency",
		means:  "The cart would hold products of two currencies.",
		remedy: "Order or remove those of the one first.",
	},
	{
		code:   "not-found",
		status: []int{http.StatusNotFound},
		title:  "Not found",
		means:  "There is no such thing, or it belongs to somebody else.",
		remedy: "Look it up in its list.",
	},
	{
		code:   "not-logged-in",
		status: []int{http.StatusUnauthorized},
		title:  "Nobody is logged in",
		means:  "The request has no session in which a customer has logged in, or it has ended.",
		remedy: "Log in with POST /v1/session.",
	},
	{
		code:   "out-of-stock",
		status: []int{http.StatusConflict},
		title:  "Not enough units left",
		means:  "Fewer units are left than the cart asks for. The lines say which SKUs and how many there are.",
		remedy: "Lower the quantities to available, or remove the lines. Units that are held may come back: then there is a Retry-After. Nothing was charged.",
	},
	{
		code:   "payment-declined",
		status: []int{http.StatusPaymentRequired},
		title:  "The payment was declined",
		means:  "The payment provider has refused the payment. Nothing was charged, and the cart is as it was.",
		remedy: "Try another card with a new Idempotency-Key.",
	},
	{
		code:   "payment-unavailable",
		status: []int{http.StatusServiceUnavailable},
		title:  "The payment provider is unavailable",
		means:  "The payment provider has failed, or is away. Nothing was ordered or charged, and the cart is as it was.",
		remedy: "Send the same request again after Retry-After, with its Idempotency-Key.",
	},
	{
		code:   "price-changed",
		status: []int{http.StatusConflict},
		title:  "The price has changed",
		means:  "The cart costs more than expected_total_minor says or, without that, than an answer has last shown for it.",
		remedy: "Show the total of this answer to the customer, and check out again with it, or with a new Idempotency-Key.",
	},
	{
		code:   "request-in-flight",
		status: []int{http.StatusConflict},
		title:  "The same request is being worked on",
		means:  "A checkout with this Idempotency-Key has begun and not ended.",
		remedy: "Repeat it after Retry-After, with the same key, for its outcome.",
	},
	{
		code:   "request-timeout",
		status: []int{http.StatusRequestTimeout},
		title:  "The request took too long to arrive",
		means:  "The body did not arrive in time, and nothing was done.",
		remedy: "Send the request again.",
	},
	{
		code:   "sale-ended",
		status: []int{http.StatusConflict},
		title:  "The sale is over",
		means:  "A SKU of the cart is for sale only during a sale, which has ended.",
		remedy: "Remove the line.",
	},
	{
		code:   "sale-not-started",
		status: []int{http.StatusConflict},
		title:  "The sale has not started",
		means:  "A SKU of the cart is for sale only during a sale, which starts at starts_at.",
		remedy: "Check out again after Retry-After, or remove the line.",
	},
	{
		code:   "too-large",
		status: []int{http.StatusRequestEntityTooLarge},
		title:  "The request is too large",
		means:  "The body has more than 16 KiB.",
		remedy: "Send a smaller one. No request of this shop needs as much.",
	},
	{
		code:   "too-many-requests",
		status: []int{http.StatusTooManyRequests},
		title:  "Too many requests",
		means:  "A limit is used up: of the account, the session, the client or its address. RateLimit-Policy says which, and how large it is.",
		remedy: "Wait for Retry-After.",
	},
	{
		code:   "unavailable",
		status: []int{http.StatusServiceUnavailable},
		title:  "The shop is unavailable",
		means:  "PostgreSQL, Redis or every worker is away for the moment, or slower than a request may be.",
		remedy: "Send the same request again after Retry-After. A checkout keeps its Idempotency-Key.",
	},
	{
		code:   "unsupported-media-type",
		status: []int{http.StatusUnsupportedMediaType},
		title:  "The body's media type is not understood",
		means:  "The body is not application/json, or it has a Content-Encoding.",
		remedy: "Send plain application/json.",
	},
	{
		code:   "wrong-credentials",
		status: []int{http.StatusUnauthorized},
		title:  "Login failed",
		means:  "There is no account with this e-mail address and password. Which of the two is wrong is not said.",
		remedy: "Let the customer type them again.",
	},
}

// kindOf returns the kind with a code.
func kindOf(code string) (kind, bool) {
	i, ok := slices.BinarySearchFunc(kinds, code, func(k kind, code string) int { return cmp.Compare(k.code, code) })
	if !ok {
		return kind{}, false
	}
	return kinds[i], true
}

// typePath stands before the code in the type of a problem.
const typePath = "/problems/"

// problem returns a problem of the kind with a code, which has to be in [kinds].
func problem(code, detail string) *Problem {
	k, ok := kindOf(code)
	if !ok {
		panic("there is no kind of problem with the code " + code)
	}
	return &Problem{Type: typePath + code, Title: k.title, Status: k.status[0], Detail: detail, Code: code}
}

// codesOf returns the codes of the problems that a status can have.
func codesOf(status int) []string {
	var codes []string
	for _, k := range kinds {
		if slices.Contains(k.status, status) {
			codes = append(codes, k.code)
		}
	}
	return codes
}

// TransformSchema lists the codes in the OpenAPI document. The list may grow, which
// its second name says to tools: a new code breaks no client.
func (*Problem) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	code := s.Properties["code"]
	code.Enum = nil // huma calls this for each place that has a Problem
	for _, k := range kinds {
		code.Enum = append(code.Enum, k.code)
	}
	code.Extensions = map[string]any{"x-extensible-enum": code.Enum}
	return s
}

// describeCodes is the text of a response that can have one of several codes.
func describeCodes(status int) string {
	return http.StatusText(status) + ": " + strings.Join(codesOf(status), ", ")
}
