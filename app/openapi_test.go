package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// checkedTransport compares every answer that a test gets with the OpenAPI document that the same server serves: the
// path and the status are in it, and the body fits the schema of its media type.
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
	if strings.HasPrefix(req.URL.Path, "/docs") || req.URL.Path == "/openapi.json" || req.URL.Path == "/" {
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
	paths    map[string]map[string]any // by path template, then by lower-case method
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
	c := &contract{paths: map[string]map[string]any{}, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource("openapi.json", doc); err != nil {
		return nil, err
	}
	for path, item := range doc.(map[string]any)["paths"].(map[string]any) {
		c.paths[path] = item.(map[string]any)
	}
	return c, nil
}

// template finds the path of the document that a request's path is an instance of.
func (c *contract) template(path string) (string, bool) {
	if _, ok := c.paths[path]; ok {
		return path, true
	}
	parts := strings.Split(path, "/")
	for template := range c.paths {
		want := strings.Split(template, "/")
		if len(want) == len(parts) && slices.EqualFunc(want, parts, func(w, p string) bool { return w == p || strings.HasPrefix(w, "{") }) {
			return template, true
		}
	}
	return "", false
}

func (c *contract) check(req *http.Request, resp *http.Response, body []byte) error {
	template, ok := c.template(req.URL.Path)
	if !ok {
		if resp.StatusCode == http.StatusNotFound {
			return nil
		}
		return errors.New("unknown path")
	}
	method := strings.ToLower(req.Method)
	if method == "head" { // as GET, without the body
		if len(body) > 0 {
			return errors.New("a body after HEAD")
		}
		method = "get"
	}
	operation, ok := c.paths[template][method].(map[string]any)
	if !ok {
		if resp.StatusCode == http.StatusMethodNotAllowed {
			return nil
		}
		return errors.New("unknown method")
	}
	status := strconv.Itoa(resp.StatusCode)
	described, ok := operation["responses"].(map[string]any)[status].(map[string]any)
	if !ok {
		return errors.New("unknown status")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if resp.StatusCode < 400 {
		c.seen[req.Method+" "+template] = true
	}
	content, ok := described["content"].(map[string]any)
	if req.Method == http.MethodHead {
		return nil
	}
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
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("decode body: %w", err)
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "%2B").Replace
	at := "openapi.json#/paths/" + escape(template) + "/" + method + "/responses/" + status + "/content/" + escape(media) + "/schema"
	schema, ok := c.schemas[at]
	if !ok {
		if schema, err = c.compiler.Compile(at); err != nil {
			return fmt.Errorf("compile schema: %w", err)
		}
		c.schemas[at] = schema
	}
	return schema.Validate(value)
}

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
		for method := range item {
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
