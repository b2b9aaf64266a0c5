package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
)

// requestTimeout bounds the work for one request, checkout apart, which has limits of its own: long enough for a
// slow database, short enough that a stuck one is answered with 503 before customers leave.
const requestTimeout = 3 * time.Second

// checkoutOperation names the one operation that has limits of its own.
const checkoutOperation = "checkout"

var errRequestTimeout = errors.New("request timed out")

// maxBody is the largest request body in bytes. The largest sensible one has a few hundred.
const maxBody = 16 << 10

// newAPI returns a huma API on a router. All of ours share one OpenAPI document.
func newAPI(router chi.Router, doc *huma.OpenAPI) huma.API {
	format := huma.Format{Marshal: marshalJSON, Unmarshal: decodeJSON}
	return humachi.New(router, huma.Config{
		OpenAPI:                      doc,
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{fromHuma},
	})
}

// huma has this setting for the whole process alone. Without it a field that differs from ours in case only would pass as
// unknown to nobody: encoding/json fills ours from it, after ours was validated.
func init() { huma.ValidateStrictCasing = true }

// decodeJSON is json.Unmarshal with an error for clients where a number does
// not fit its field, or where a text is none.
func decodeJSON(data []byte, v any) error {
	if err := checkUnicode(data); err != nil {
		return err
	}
	err := json.Unmarshal(data, v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return fmt.Errorf("field %s is not a whole number in range", e.Field)
	}
	return err
}

// marshalJSON writes a value in one piece. A client that has gone is no error here: there is nobody to tell.
func marshalJSON(w io.Writer, v any) error {
	body, err := encodeJSON(v)
	if err != nil {
		return err
	}
	w.Write(body) //nolint:errcheck // see above
	return nil
}

// handle adds an operation: its handler returns a value or an error, and problemFor decides what clients see of the error.
// The statuses are those of the problems that the operation can have, besides the ones that all have.
func handle[In, Out any](a *App, api huma.API, op huma.Operation, handler func(context.Context, *In) (*Out, error)) {
	op.MaxBodyBytes, op.BodyReadTimeout = maxBody, -1 // whole has read it
	op = customers(api, op)
	op.Middlewares = huma.Middlewares{a.limitOperation(op.OperationID)}
	huma.Register(api, op, func(ctx context.Context, in *In) (*Out, error) {
		ctx, cancel := limited(ctx, op.OperationID)
		defer cancel()
		start, outcome := time.Now(), "internal" // unless it gets further than a panic
		defer func() {
			a.metrics.operations.WithLabelValues(op.OperationID, outcome).Observe(time.Since(start).Seconds())
		}()
		out, err := handler(ctx, in)
		if err != nil {
			p := problemFor(err)
			outcome = p.Code
			p.RequestID = requestIDFrom(ctx)
			a.report(ctx, p, op.Method, op.Path)
			return nil, &problemError{p}
		}
		outcome = "ok"
		return out, nil
	})
}

// limited bounds the work for a request of an operation.
func limited(ctx context.Context, operation string) (context.Context, context.CancelFunc) {
	if operation == checkoutOperation { // at midnight it waits for its batch longer than anything else takes
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, requestTimeout, errRequestTimeout)
}

// problemError carries a Problem through huma, with its headers.
type problemError struct{ *Problem }
