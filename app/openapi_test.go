package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"doorbuster/app"
)

// checkedTransport compares every answer that a test gets with the OpenAPI
// document that the same server serves: the path and the status are in it, the
// headers are, and the body fits the schema of its media type. What is not in
// the document is a problem of its own: a path that does not exist, or a method
// that does not fit.
type checkedTransport struct {
	t    testing.TB
	next http.RoundTripper
}

func (c *checkedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		return nil, errors.Join(err, closeErr)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	isPage := strings.HasPrefix(req.URL.Path, "/docs") || req.URL.Path == "/openapi.json" || req.URL.Path == "/"
	if isPage && resp.StatusCode < 400 {
		return resp, nil
	}
	contract, err := contractOf(c.next, req.URL.Scheme+"://"+req.URL.Host)
	if err != nil {
		return nil, err
	}
	if err := contract.check(req, resp, body); err != nil {
		c.t.Errorf("%s %s: %d: the answer is not in the OpenAPI document: %v; body: %s", req.Method, req.URL.Path, resp.StatusCode, err, body)
	}
	return resp, nil
}

// contract is an OpenAPI document with its schemas compiled.
type contract struct {
	doc      map[string]any
	paths    map[string]any // by path template, then by lower-case method
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
	seen     map[string]bool // "GET /v1/cart" with a status under 400
}

// The document does not depend on the shop, so all tests of this process share one.
var theContract struct {
	once     sync.Once
	contract *contract
	err      error
}

func contractOf(transport http.RoundTripper, base string) (*contract, error) {
	theContract.once.Do(func() { theContract.contract, theContract.err = readContract(transport, base) })
	return theContract.contract, theContract.err
}

func readContract(transport http.RoundTripper, base string) (*contract, error) {
	resp, err := (&http.Client{Transport: transport}).Get(base + "/openapi.json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	doc, err := jsonschema.UnmarshalJSON(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("decode OpenAPI document: %w", err)
	}
	c := &contract{doc: doc.(map[string]any), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	c.paths = c.doc["paths"].(map[string]any)
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource("openapi.json", doc)
}

// at follows a path of names through the document, and references on the way. It
// returns the JSON Pointer of where it has come to, and nil if that is nowhere.
func (c *contract) at(names ...string) (pointer string, value map[string]any) {
	value = c.doc
	for _, name := range names {
		value, _ = value[name].(map[string]any)
		pointer += "/" + pointerEscape.Replace(name)
		if ref, ok := value["$ref"].(string); ok {
			pointer = strings.TrimPrefix(ref, "#")
			_, value = c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return pointer, value
}

// pointerEscape writes a name into a JSON Pointer (RFC 6901) that is a URI fragment.
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "%2B")

// validate checks a value against the schema at a JSON Pointer of the document.
func (c *contract) validate(pointer string, value any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	schema, ok := c.schemas[pointer]
	if !ok {
		var err error
		if schema, err = c.compiler.Compile("openapi.json#" + pointer); err != nil {
			return fmt.Errorf("compile schema: %w", err)
		}
		c.schemas[pointer] = schema
	}
	return schema.Validate(value)
}

// template finds the path of the document that a request's path, as it was sent, is an instance of.
func (c *contract) template(path string) (string, bool) {
	if _, ok := c.paths[path]; ok {
		return path, true
	}
	isInstance := func(want, part string) bool { return want == part || strings.HasPrefix(want, "{") && part != "" }
	parts := strings.Split(path, "/")
	for template := range c.paths {
		if slices.EqualFunc(strings.Split(template, "/"), parts, isInstance) {
			return template, true
		}
	}
	return "", false
}

func (c *contract) check(req *http.Request, resp *http.Response, body []byte) error {
	template, isPath := c.template(req.URL.EscapedPath())
	method := "none: they are case-sensitive"
	if req.Method == strings.ToUpper(req.Method) {
		method = strings.ToLower(req.Method)
	}
	if req.Method == http.MethodHead { // as GET, without the body
		if len(body) > 0 {
			return errors.New("a body after HEAD")
		}
		method = "get"
	}
	_, operation := c.at("paths", template, method)
	status := strconv.Itoa(resp.StatusCode)
	wrongBody := slices.Contains([]int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge}, resp.StatusCode)
	switch {
	case !isPath && resp.StatusCode == http.StatusNotFound, operation == nil && (wrongBody || resp.StatusCode == http.StatusMethodNotAllowed):
		return c.checkBody(req, resp, body, "/components/schemas/Problem", "application/problem+json")
	case !isPath:
		return errors.New("unknown path")
	case operation == nil:
		return errors.New("unknown method")
	}
	pointer, described := c.at("paths", template, method, "responses", status)
	if described == nil {
		return errors.New("unknown status")
	}
	if resp.StatusCode < 400 {
		c.mu.Lock()
		c.seen[req.Method+" "+template] = true
		c.mu.Unlock()
	}
	if err := c.checkHeaders(strings.Split(strings.Trim(pointer, "/"), "/"), resp); err != nil {
		return err
	}
	content, ok := described["content"].(map[string]any)
	if !ok {
		if len(body) > 0 {
			return errors.New("a body where none is described")
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type: %w", err)
	}
	if _, ok := content[media]; !ok {
		return fmt.Errorf("unknown media type %q", media)
	}
	return c.checkBody(req, resp, body, pointer+"/content/"+pointerEscape.Replace(media)+"/schema", media)
}

// checkBody checks a body, and for a problem that it is whole: the status in
// the body is that of the answer, and who is told to come back is told when.
func (c *contract) checkBody(req *http.Request, resp *http.Response, body []byte, schema, wantMedia string) error {
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != wantMedia {
		return fmt.Errorf("got Content-Type %q, want %s", resp.Header.Get("Content-Type"), wantMedia)
	}
	if req.Method == http.MethodHead {
		return nil
	}
	if strings.HasPrefix(wantMedia, "text/") {
		return c.validate(schema, string(body))
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("decode body: %w", err)
	}
	if err := c.validate(schema, value); err != nil || wantMedia != "application/problem+json" {
		return err
	}
	if got := fmt.Sprint(value.(map[string]any)["status"]); got != strconv.Itoa(resp.StatusCode) {
		return fmt.Errorf("the body says status %s", got)
	}
	comeBack := resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests
	if comeBack && resp.Header.Get("Retry-After") == "" {
		return errors.New("no Retry-After")
	}
	return nil
}

// ofTransport are headers that say nothing about the shop, but how the answer is carried.
var ofTransport = []string{"Date", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding", "Vary", "X-Content-Type-Options"}

// checkHeaders checks that all headers are described, with such values, and that none
// of those is missing that are always there.
func (c *contract) checkHeaders(response []string, resp *http.Response) error {
	for i, name := range response {
		response[i] = pointerUnescape.Replace(name)
	}
	described := map[string][]string{} // by canonical name, where the header is
	_, all := c.at(append(slices.Clone(response), "headers")...)
	for name := range all {
		at := append(slices.Clone(response), "headers", name)
		described[http.CanonicalHeaderKey(name)] = at
		if _, header := c.at(at...); header["required"] == true && resp.Header.Values(name) == nil {
			return fmt.Errorf("no header %s", name)
		}
	}
	if resp.Header.Get("X-Request-Id") == "" {
		return errors.New("no header X-Request-Id")
	}
	for name, values := range resp.Header {
		if slices.Contains(ofTransport, name) {
			continue
		}
		at, ok := described[name]
		if !ok {
			return fmt.Errorf("unknown header %s: %q", name, values)
		}
		pointer, header := c.at(at...)
		var value any = values[0]
		if schema, _ := header["schema"].(map[string]any); schema["type"] == "integer" {
			value = json.Number(values[0])
		}
		if err := c.validate(pointer+"/schema", value); err != nil {
			return fmt.Errorf("header %s: %q: %w", name, values, err)
		}
	}
	return nil
}

var pointerUnescape = strings.NewReplacer("~1", "/", "~0", "~", "%7B", "{", "%7D", "}", "%2B", "+")

// everyOperationSeen fails when the tests have left an operation of the document out: then nobody has compared it. It
// says nothing when only some of the tests were run.
func everyOperationSeen() error {
	if flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" || testing.Short() {
		return nil
	}
	c := theContract.contract
	if c == nil {
		return errors.New("no answer was compared with the OpenAPI document")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for path, item := range c.paths {
		for method := range item.(map[string]any) {
			if operation := strings.ToUpper(method) + " " + path; !c.seen[operation] {
				missing = append(missing, operation)
			}
		}
	}
	if missing != nil {
		return fmt.Errorf("no test has succeeded with: %v", missing)
	}
	return nil
}

var update = flag.Bool("update", false, "write openapi.json anew")

// openapi.json is the document that the shop serves, so that a change of the
// contract is seen in review, and by those who have the repository and no shop.
// "make openapi" writes it.
func TestOpenAPIFile(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) { c.PlainHTTP = false })
	var got bytes.Buffer
	if err := json.Indent(&got, s.visitor().do("GET", "/openapi.json", nil).want(http.StatusOK, nil).body, "", "  "); err != nil {
		t.Fatal(err)
	}
	const file = "openapi.json"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("the shop serves another document than %s (-file +shop); write it anew with \"make openapi\":\n%s", file, diff)
	}
}

// The examples of the document work in the shop that "doorbuster dev" opens, one after the other.
func TestExamples(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.seed()
	v := s.visitor()
	v.do("GET", "/livez", nil).want(http.StatusOK, nil) // it reads the document
	left := map[string]documented{}
	for _, op := range theContract.contract.operations() {
		left[op.id] = op
	}
	delete(left, "get-order") // its example is nobody's order
	for _, id := range []string{
		"livez", "readyz", "health", "list-products", "list-categories", "get-product", "get-problem",
		"register", "log-out", "log-in", "who-am-i", "add-cart-item", "set-discount", "get-cart", "checkout", "list-orders",
		"set-cart-item", "remove-cart-item", "remove-discount", "clear-cart", "change-password", "log-out-everywhere",
	} {
		op := left[id]
		delete(left, id)
		path, header := op.path, []string{}
		for _, p := range op.parameters {
			name, example := p["name"].(string), exampleOf(p)
			if p["in"] == "path" {
				path = strings.ReplaceAll(path, "{"+name+"}", example)
			} else if p["required"] == true {
				header = append(header, name, example)
			}
		}
		var body any
		if op.body != nil {
			body = op.body
		}
		if r := v.do(op.method, path, body, header...); r.status >= 400 {
			t.Errorf("%s: %s: got %d: %s", id, r.what, r.status, r.body)
		}
	}
	if len(left) > 0 {
		t.Errorf("no example was tried of %v", slices.Sorted(maps.Keys(left)))
	}
}

// The document itself: version 3.1, and every operation has an id and declares its problems.
func TestOpenAPIDocument(t *testing.T) {
	t.Parallel()
	s := open(t)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Responses   map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
	}
	s.visitor().do("GET", "/openapi.json", nil).want(http.StatusOK, &doc)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("got OpenAPI %q, want 3.1", doc.OpenAPI)
	}
	for path, item := range doc.Paths {
		for method, op := range item {
			if op.OperationID == "" {
				t.Errorf("%s %s has no operationId", method, path)
			}
			if strings.HasPrefix(path, "/v1/") && op.Responses["503"] == nil {
				t.Errorf("%s %s does not declare 503", method, path)
			}
		}
	}
	// What /docs loads is ours, and is there.
	docs := s.visitor().do("GET", "/docs", nil).want(http.StatusOK, nil)
	assets := regexp.MustCompile(`(?:src|href)\s*=\s*["']([^"']+)`).FindAllStringSubmatch(string(docs.body), -1)
	if len(assets) < 3 {
		t.Errorf("got %d assets in /docs, want some: %s", len(assets), docs.body)
	}
	for _, asset := range assets {
		if !strings.HasPrefix(asset[1], "/docs/") {
			t.Errorf("/docs loads %s from elsewhere", asset[1])
			continue
		}
		s.visitor().do("GET", asset[1], nil).want(http.StatusOK, nil)
	}
}
