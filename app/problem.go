package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/account"
	"doorbuster/app/cart"
	"doorbuster/app/catalog"
	"doorbuster/app/checkout"
	"doorbuster/app/money"
	"doorbuster/app/pricing"
)

// Problem is the body of every error answer: RFC 9457, application/problem+json. Clients decide by Code (or Type, which
// ends in it); the other texts are for people.
type Problem struct {
	Type      string        `json:"type" format:"uri-reference" doc:"URI reference of the kind of problem: a page about it" example:"/problems/out-of-stock"`
	Title     string        `json:"title" doc:"The kind of problem in words"`
	Status    int           `json:"status" minimum:"400" maximum:"599" doc:"HTTP status code" example:"409"`
	Detail    string        `json:"detail" doc:"What went wrong this time, and what to do"`
	Code      string        `json:"code" doc:"The kind of problem, for programs: decide by it. There may be more later; treat one that you do not know by its status" example:"out-of-stock"`
	RequestID string        `json:"request_id" doc:"Name of this request in the logs"`
	Errors    []FieldError  `json:"errors,omitempty" nullable:"false" doc:"Which fields of the request are wrong"`
	Lines     []ProblemLine `json:"lines,omitempty" nullable:"false" doc:"Which lines of the cart are concerned"`
	Total     *money.Money  `json:"total,omitempty" doc:"What the cart costs now"`
	OrderID   string        `json:"order_id,omitempty" doc:"The order that this is about"`
	StartsAt  *time.Time    `json:"starts_at,omitempty" doc:"When the sale starts"`

	retryAfter time.Duration // 0: no Retry-After
	replayed   bool
	header     http.Header // more of it
	cause      error       // for the log, never for the client
}

// FieldError names one wrong field of a request.
type FieldError struct {
	In      string `json:"in" enum:"body,query,path,header" doc:"Part of the request"`
	Field   string `json:"field" doc:"Name of the field" example:"quantity"`
	Pointer string `json:"pointer,omitempty" doc:"JSON Pointer to it (RFC 6901), in a body" example:"/quantity"`
	Detail  string `json:"detail" doc:"What is wrong with it"`
}

// ProblemLine names one line of a cart that can't be ordered.
type ProblemLine struct {
	SKU       string `json:"sku"`
	Requested int    `json:"requested,omitempty" doc:"Units asked for"`
	Available *int   `json:"available,omitempty" doc:"Units that could be had; absent where that is not why, or not told"`
	Held      int    `json:"held,omitempty" doc:"Units held by payments under way, which are sold or come back: Retry-After says when to try again"`
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus, ContentType and GetHeaders make a Problem an error of huma's.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders returns the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{"Cache-Control": {"private, no-store"}}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	maps.Copy(h, p.header)
	if p.replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Session realm="doorbuster"`)
	}
	return h
}

// invalid is the problem of one wrong field.
func invalid(in, field, detail string) *Problem {
	p := problem("invalid-request", strings.TrimPrefix(field+": "+detail, ": "))
	p.Errors = []FieldError{fieldError(in, field, detail)}
	return p
}

// jsonPointer escapes a name for a JSON Pointer (RFC 6901, section 3).
var jsonPointer = strings.NewReplacer("~", "~0", "/", "~1")

func fieldError(in, field, detail string) FieldError {
	e := FieldError{In: in, Field: field, Detail: detail}
	if in == "body" {
		e.Pointer = "/" + jsonPointer.Replace(field)
		if field == "" {
			e.Pointer = ""
		}
	}
	return e
}

// soon is a moment to come back at, spread so that a crowd does not come back as one.
func soon() time.Duration { return time.Second + rand.N(2*time.Second) }

// problemFor is the one place where errors become answers. The problem is the caller's own.
func problemFor(err error) *Problem {
	p := *classify(err)
	if p.cause == nil {
		p.cause = err
	}
	return &p
}

func classify(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if p := classifyRefusal(err); p != nil {
		return p
	}
	refusal := func(code string) *Problem { return problem(code, sentence(err)) }
	switch {
	case errors.Is(err, catalog.ErrNotFound), errors.Is(err, checkout.ErrNotFound):
		return problem("not-found", "What was asked for does not exist.")
	case errors.Is(err, cart.ErrTooMany):
		return invalid("body", "quantity", err.Error())
	case errors.Is(err, cart.ErrTooManyLines):
		return refusal("cart-full")
	case errors.Is(err, errCurrencies), errors.Is(err, money.ErrCurrency):
		return problem("mixed-currencies", sentence(errCurrencies))
	case errors.Is(err, checkout.ErrGone):
		return problem("cart-changed",
			"The cart held something that the shop does not have any more. Look at the cart, and check out again.")
	case errors.Is(err, cart.ErrNoCart), errors.Is(err, checkout.ErrCartEmpty):
		return refusal("cart-empty")
	case errors.Is(err, checkout.ErrKeyReused):
		return problem("idempotency-key-reused",
			"This Idempotency-Key was used with another request; make a new key for a new attempt.")
	case errors.Is(err, checkout.ErrInFlight):
		p := refusal("request-in-flight")
		p.retryAfter = time.Second
		return p
	case errors.Is(err, checkout.ErrProvider):
		p := problem("payment-unavailable",
			"The payment provider failed. Nothing was charged, and the cart is as it was; try again.")
		p.retryAfter = soon()
		return p
	case errors.Is(err, account.ErrCredentials):
		return problem("wrong-credentials", sentence(err))
	case errors.Is(err, errNotLoggedIn), errors.Is(err, errLogInOver), errors.Is(err, account.ErrNotFound):
		return problem("not-logged-in", "Log in with POST /v1/session.")
	default:
		if p := classifyUnavailable(err); p != nil {
			return p
		}
		return problem("internal",
			"The request could not be completed. The request_id names it in our logs.")
	}
}

// classifyUnavailable maps what a little patience cures: the shop has more to do than it can ("busy"), or PostgreSQL or Redis
// is slow or away ("unavailable"). It returns nil for all else.
func classifyUnavailable(err error) *Problem {
	const again = " Try again a little later, a checkout with the same Idempotency-Key."
	temporary := func(code, detail string) *Problem {
		p := problem(code, detail+again)
		p.retryAfter = soon()
		return p
	}
	crowd, isCrowd := errors.AsType[*crowded](err)
	switch {
	case isCrowd:
		p := temporary("busy", "Too many requests came before this one.")
		p.retryAfter = crowd.comeBack()
		return p
	case isTimeout(err): // before ErrBusy, which also says that a database did not answer
		return temporary("unavailable", "A database of the shop did not answer in time.")
	case errors.Is(err, context.Canceled): // the worker is about to leave, or nobody is there to read this
		return temporary("unavailable", "The request was given up before it was done.")
	case isUnavailable(err):
		return temporary("unavailable", "A database of the shop can't be used right now.")
	case errors.Is(err, account.ErrBusy), errors.Is(err, checkout.ErrBusy):
		p := temporary("busy", "Too many requests came at once.")
		if e, ok := errors.AsType[*account.BusyError](err); ok {
			p.retryAfter += e.Wait
		}
		return p
	}
	return nil
}

// isTimeout reports whether an error means that PostgreSQL or Redis took longer than we wait.
func isTimeout(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code == "55P03" || pgErr.Code == "57014" // lock time-out, statement time-out
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout)
}

// classifyRefusal maps the refusals of a checkout that carry facts.
func classifyRefusal(err error) *Problem {
	refusal := func(code string) *Problem { return problem(code, sentence(err)) }
	if e, ok := errors.AsType[*checkout.OutOfStock](err); ok {
		p := refusal("out-of-stock")
		for _, l := range e.Lines {
			p.Lines = append(p.Lines, ProblemLine{SKU: l.Code, Requested: l.Requested, Available: &l.Available, Held: l.Held})
			if l.Held > 0 {
				p.retryAfter = soon()
			}
		}
		return p
	}
	if e, ok := errors.AsType[*checkout.NotForSale](err); ok {
		if e.StartsAt.IsZero() {
			p := refusal("sale-ended")
			p.Lines = []ProblemLine{{SKU: e.Code}}
			return p
		}
		p := refusal("sale-not-started")
		p.StartsAt, p.Lines = &e.StartsAt, []ProblemLine{{SKU: e.Code}}
		p.retryAfter = e.StartsIn + rand.N(2*time.Second)
		return p
	}
	if e, ok := errors.AsType[*checkout.LimitReached](err); ok {
		p := refusal("customer-limit")
		p.Lines = []ProblemLine{{SKU: e.Code, Available: &e.Left}}
		if e.ByAddress { // what somebody else has is nobody's business
			p.Lines[0].Available = nil
		}
		return p
	}
	if e, ok := errors.AsType[*checkout.ProviderAway](err); ok {
		p := problem("payment-unavailable",
			"The payment provider does not answer. Nothing was ordered or charged, and the cart is as it was; try again.")
		p.retryAfter = e.RetryIn + soon()
		return p
	}
	if e, ok := errors.AsType[*checkout.PriceChanged](err); ok {
		p := refusal("price-changed")
		p.Detail += " Look at the cart, or repeat with expected_total_minor or a new Idempotency-Key to agree."
		p.Total = &e.Now
		return p
	}
	if _, ok := errors.AsType[*pricing.RefusedDiscount](err); ok {
		return refusal("discount-refused")
	}
	return nil
}

// sentence makes the text of a domain error a sentence. Only errors whose whole text is for the customer get here.
func sentence(err error) string {
	for { // the innermost error is the domain's own
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	text := err.Error()
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// isUnavailable reports whether an error means that PostgreSQL or Redis is away or overloaded, and not that we are wrong.
func isUnavailable(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pgErr.Code {
		case "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "53300", "40001", "40P01", "25P03":
			// lock time-out, statement time-out, shut down, crashed, starting, idle, too many connections, repeats, idle in transaction
			return true
		}
		return strings.HasPrefix(pgErr.Code, "08") // connection exceptions
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	// A cancelled context is a client that has gone, or a worker that is about to.
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout) ||
		errors.Is(err, redis.ErrPoolExhausted) || isRedisLoading(err) ||
		strings.Contains(err.Error(), "conn closed") // pgconn's error for a connection that died under a query has no type
}

// isRedisLoading recognises the replies of a Redis that is starting or has lost its disk.
func isRedisLoading(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	return ok && (strings.HasPrefix(reply.Error(), "LOADING") || strings.HasPrefix(reply.Error(), "MISCONF") ||
		strings.HasPrefix(reply.Error(), "READONLY") || strings.HasPrefix(reply.Error(), "MASTERDOWN"))
}

// report logs a problem: our failures as errors, with their cause; what clients do wrong only for debugging.
func (a *App) report(ctx context.Context, p *Problem, method, path string) {
	level := slog.LevelDebug
	switch {
	case errors.Is(p.cause, context.Canceled) && errors.Is(context.Cause(ctx), context.Canceled): // the client has gone
	case p.Status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case p.Status >= http.StatusInternalServerError:
		level = slog.LevelError
	}
	if !a.log.Enabled(ctx, level) {
		return
	}
	attrs := []any{"status", p.Status, "code", p.Code, "method", method, "path", path, "request_id", p.RequestID, "error", p.cause}
	if level == slog.LevelWarn { // a whole crowd may be told the same
		kind := p.Code
		if _, ok := errors.AsType[*crowded](p.cause); ok { // it must not hide that a database is away
			kind = "crowd"
		}
		missing, ok := a.throttle.allow(kind, time.Now())
		if !ok {
			return
		}
		if missing > 0 {
			attrs = append(attrs, "more_like_it", missing)
		}
	}
	a.log.Log(ctx, level, "request failed", attrs...)
}

// writeProblem answers with an error outside huma: in plain handlers and middleware.
func (a *App) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := problemFor(err)
	p.RequestID = w.Header().Get(headerRequestID)
	a.report(r.Context(), p, r.Method, r.URL.Path)
	body, err := encodeJSON(p)
	if err != nil {
		a.log.ErrorContext(r.Context(), "encode problem", "error", err)
	}
	h := w.Header()
	maps.Copy(h, p.GetHeaders())
	h.Set("Content-Type", p.ContentType(""))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	w.Write(body) //nolint:errcheck // the client may be gone
}

// fromHuma turns the errors that huma makes, of validation above all, into ours. It keeps the place and the message of
// each and drops the value: that may be a password.
func fromHuma(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := problem("invalid-request", sentence(e))
	if e.Status == http.StatusUnsupportedMediaType {
		p = problem("unsupported-media-type", "Send application/json.")
	}
	p.Status = e.Status
	for _, d := range e.Errors {
		p.Errors = append(p.Errors, humaField(d))
	}
	if len(p.Errors) == 0 && e.Status == http.StatusBadRequest {
		p.Errors = []FieldError{fieldError("body", "", "is empty")}
	}
	if len(p.Errors) == 1 && p.Code == "invalid-request" {
		p.Detail = strings.TrimSpace(cmp.Or(p.Errors[0].Field, "the "+p.Errors[0].In) + " " + p.Errors[0].Detail)
	}
	for name, values := range p.GetHeaders() {
		ctx.SetHeader(name, values[0])
	}
	p.RequestID = requestIDFrom(ctx.Context())
	return p, nil
}

// What huma and decodeJSON say where the field is in the message, and not in the location.
var (
	requiredProperty = regexp.MustCompile(`^expected required property (\S+) to be present$`)
	wrongType        = regexp.MustCompile(`^field (\S+) (is .*)$`)
	emailFormat      = regexp.MustCompile(`^(expected string to be RFC 5322 email): .*$`) // what follows repeats the value
)

func humaField(d *huma.ErrorDetail) FieldError {
	in, field, _ := strings.Cut(d.Location, ".")
	if in == "" {
		in = "body"
	}
	detail := d.Message
	if m := requiredProperty.FindStringSubmatch(detail); m != nil {
		field, detail = strings.TrimPrefix(field+"."+m[1], "."), "is required"
	} else if m := wrongType.FindStringSubmatch(detail); m != nil {
		field, detail = m[1], m[2]
	} else if m := emailFormat.FindStringSubmatch(detail); m != nil {
		detail = m[1]
	}
	return fieldError(in, field, detail)
}
