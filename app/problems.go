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
		"busy", []int{http.StatusServiceUnavailable}, "The shop is busy",
		"More requests came than the shop can work on, and this one has waited long enough.",
		"Send the same request again after Retry-After. A checkout keeps its Idempotency-Key.",
	},
	{
		"cart-changed", []int{http.StatusConflict}, "The cart has changed",
		"The cart held something that the shop does not have any more. It was taken out.",
		"Show the cart again, and let the customer decide.",
	},
	{
		"cart-empty", []int{http.StatusConflict}, "The cart is empty",
		"There is nothing to order, or the session has no cart. An order empties the cart, so a second checkout finds it so.",
		"Add something first. After a checkout whose answer was lost, repeat it with its own Idempotency-Key, or look at the orders.",
	},
	{
		"cart-full", []int{http.StatusConflict}, "The cart is full",
		"A cart holds a certain number of different SKUs, and this would be one more.",
		"Order or remove something first.",
	},
	{
		"cross-origin", []int{http.StatusForbidden}, "The request comes from another site",
		"A browser sent this for a page of another site. Only pages of the shop's own origin may change anything.",
		"Call the shop from its own origin, or from a program that is no browser.",
	},
	{
		"customer-limit", []int{http.StatusConflict}, "The limit per customer is reached",
		"The SKU is limited, and the customer would have more than that with this order. The line says how many can still be had.",
		"Lower the quantity to available, or remove the line.",
	},
	{
		"discount-refused", []int{http.StatusConflict}, "The discount code does not apply",
		"The code on the cart has ended, is used up, or asks for a larger order.",
		"Remove the code or use another, and show the new total before the next checkout.",
	},
	{
		"draining", []int{http.StatusServiceUnavailable}, "The worker is shutting down",
		"The connection was about to be closed when the request came, and it was not begun.",
		"Send the same request again on a new connection.",
	},
	{
		"email-taken", []int{http.StatusConflict}, "The e-mail address is taken",
		"There is an account with this e-mail address.",
		"Log in, or use another address.",
	},
	{
		"idempotency-key-malformed", []int{http.StatusBadRequest}, "The Idempotency-Key header is malformed",
		"An Idempotency-Key has 1 to 255 visible ASCII characters, without quotes, backslashes and commas.",
		"Send a UUID.",
	},
	{
		"idempotency-key-missing", []int{http.StatusBadRequest}, "The Idempotency-Key header is missing",
		"A checkout takes a name of the client's choice, so that a repeat can be told from a new order.",
		"Send a UUID, and the same one with each repeat of the same attempt.",
	},
	{
		"idempotency-key-reused", []int{http.StatusUnprocessableEntity}, "The Idempotency-Key belongs to another request",
		"The key was used before, with another body or by somebody else.",
		"Make a new key for a new attempt.",
	},
	{
		"internal", []int{http.StatusInternalServerError}, "Something went wrong on our side",
		"The shop has a fault. It is in its log under the request_id.",
		"Report the request_id. A repeat may be answered in the same way.",
	},
	{
		"invalid-request", []int{http.StatusUnprocessableEntity, http.StatusBadRequest}, "The request is not valid",
		"A part of the request is not as the OpenAPI document has it. The list of errors names each field.",
		"Correct the fields; a repeat is answered in the same way.",
	},
	{
		"method-not-allowed", []int{http.StatusMethodNotAllowed}, "The method does not fit",
		"There is such a path, but not with this method. Allow has the methods that there are.",
		"Use one of them.",
	},
	{
		"mixed-currencies", []int{http.StatusConflict}, "An order has one currency",
		"The cart would hold products of two currencies.",
		"Order or remove those of the one first.",
	},
	{
		"not-found", []int{http.StatusNotFound}, "Not found",
		"There is no such thing, or it belongs to somebody else.",
		"Look it up in its list.",
	},
	{
		"not-logged-in", []int{http.StatusUnauthorized}, "Nobody is logged in",
		"The request has no session in which a customer has logged in, or it has ended.",
		"Log in with POST /v1/session.",
	},
	{
		"out-of-stock", []int{http.StatusConflict}, "Not enough units left",
		"Fewer units are left than the cart asks for. The lines say which SKUs and how many there are.",
		"Lower the quantities to available, or remove the lines. Nothing was charged.",
	},
	{
		"payment-declined", []int{http.StatusPaymentRequired}, "The payment was declined",
		"The payment provider has refused the payment. Nothing was charged, and the cart is as it was.",
		"Try another card with a new Idempotency-Key.",
	},
	{
		"payment-unavailable", []int{http.StatusServiceUnavailable}, "The payment provider is unavailable",
		"The payment provider has failed, or is away. Nothing was ordered or charged, and the cart is as it was.",
		"Send the same request again after Retry-After, with its Idempotency-Key.",
	},
	{
		"price-changed", []int{http.StatusConflict}, "The price has changed",
		"The cart costs something else than expected_total_minor says.",
		"Show the total of this answer to the customer, and check out again with it.",
	},
	{
		"request-in-flight", []int{http.StatusConflict}, "The same request is being worked on",
		"A checkout with this Idempotency-Key has begun and not ended.",
		"Repeat it after Retry-After, with the same key, for its outcome.",
	},
	{
		"request-timeout", []int{http.StatusRequestTimeout}, "The request took too long to arrive",
		"The body did not arrive in time, and nothing was done.",
		"Send the request again.",
	},
	{
		"sale-ended", []int{http.StatusConflict}, "The sale is over",
		"A SKU of the cart is for sale only during a sale, which has ended.",
		"Remove the line.",
	},
	{
		"sale-not-started", []int{http.StatusConflict}, "The sale has not started",
		"A SKU of the cart is for sale only during a sale, which starts at starts_at.",
		"Check out again after Retry-After, or remove the line.",
	},
	{
		"too-large", []int{http.StatusRequestEntityTooLarge}, "The request is too large",
		"The body has more than 16 KiB.",
		"Send a smaller one. No request of this shop needs as much.",
	},
	{
		"too-many-requests", []int{http.StatusTooManyRequests}, "Too many requests",
		"A limit is used up: of the account, the session, the client or its address. RateLimit-Policy says which, and how large it is.",
		"Wait for Retry-After.",
	},
	{
		"unavailable", []int{http.StatusServiceUnavailable}, "The shop is unavailable",
		"PostgreSQL, Redis or every worker is away for the moment, or slower than a request may be.",
		"Send the same request again after Retry-After. A checkout keeps its Idempotency-Key.",
	},
	{
		"unsupported-media-type", []int{http.StatusUnsupportedMediaType}, "The body's media type is not understood",
		"The body is not application/json, or it has a Content-Encoding.",
		"Send plain application/json.",
	},
	{
		"wrong-credentials", []int{http.StatusUnauthorized}, "Login failed",
		"There is no account with this e-mail address and password. Which of the two is wrong is not said.",
		"Let the customer type them again.",
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

// TransformSchema lists the codes in the OpenAPI document.
func (*Problem) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	code := s.Properties["code"]
	code.Enum = nil // huma calls this for each place that has a Problem
	for _, k := range kinds {
		code.Enum = append(code.Enum, k.code)
	}
	return s
}

// describeCodes is the text of a response that can have one of several codes.
func describeCodes(status int) string {
	return http.StatusText(status) + ": " + strings.Join(codesOf(status), ", ")
}
