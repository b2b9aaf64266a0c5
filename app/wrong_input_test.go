package app_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"doorbuster/app"
)

var wrongInputSeed = flag.Uint64("seed", 0, "repeat the wrong requests of this seed; 0: new ones")

// Thousands of requests that are wrong in one way or two, made of the document
// by a seed: each is answered as the document has it, a refusal as a problem
// with a code of the enum (the client checks that), none with 500, and none
// with success where the document rules the input out.
func TestWrongInput(t *testing.T) {
	t.Parallel()
	const customers, requests = 8, 250
	seed := *wrongInputSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	s := open(t)
	s.seed()                                                      // the examples, from which the requests are made, are of that catalogue
	s.visitor().do("GET", "/livez", nil).want(http.StatusOK, nil) // it reads the document
	c := theContract.contract
	operations := c.operations()
	var wg sync.WaitGroup
	var mu sync.Mutex
	answered := map[int]int{}
	for i := range customers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			client, cart := s.visitor(), true
			for n := range requests {
				if n%50 == 0 {
					client, cart = s.visitor(), !cart
					if cart {
						client.add(kettle, 1)
					}
				}
				r := c.wrong(random, operations[random.IntN(len(operations))])
				status, err := r.send(s.url, client)
				switch {
				case err != nil:
					t.Errorf("%v: %v", r, err)
				case status == http.StatusInternalServerError:
					t.Errorf("%v: 500", r)
				case status < 400 && r.impossible != "":
					t.Errorf("%v: got %d, although %s", r, status, r.impossible)
				}
				if t.Failed() {
					return
				}
				mu.Lock()
				answered[status]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("answers by status: %v", answered)
	if line := s.log.line(`"level":"ERROR"`); line != "" {
		t.Errorf("wrong input was logged as our error: %s", line)
	}
	for _, status := range []int{400, 404, 405, 422} {
		if answered[status] == 0 && !t.Failed() {
			t.Errorf("no request was wrong in a way that is answered with %d", status)
		}
	}
}

// seed adds the catalogue of "doorbuster dev", with its sale open.
func (s *shop) seed() {
	s.t.Helper()
	if _, err := app.Seed(s.t.Context(), s.pool.Config().ConnString(), app.SeedOptions{Seed: 1, SaleLasts: 24 * time.Hour}); err != nil {
		s.t.Fatal(err)
	}
}

// documented is an operation of the document.
type documented struct {
	id           string
	method, path string
	parameters   []map[string]any
	body         map[string]any // the example; nil: it takes none
	fields       []string       // of the body
	schema       string         // the same, as a JSON Pointer
}

func (c *contract) operations() (all []documented) {
	for _, path := range slices.Sorted(maps.Keys(c.paths)) {
		item := c.paths[path].(map[string]any)
		for _, method := range slices.Sorted(maps.Keys(item)) {
			_, op := c.at("paths", path, method)
			d := documented{id: op["operationId"].(string), method: strings.ToUpper(method), path: path}
			parameters, _ := op["parameters"].([]any)
			for _, p := range parameters {
				d.parameters = append(d.parameters, p.(map[string]any))
			}
			if pointer, media := c.at("paths", path, method, "requestBody", "content", "application/json"); media != nil {
				d.body, d.schema = media["example"].(map[string]any), pointer+"/schema"
				_, schema := c.at("paths", path, method, "requestBody", "content", "application/json", "schema")
				d.fields = slices.Sorted(maps.Keys(schema["properties"].(map[string]any)))
			}
			all = append(all, d)
		}
	}
	return all
}

// exampleOf returns the example of a parameter, or of its schema.
func exampleOf(parameter map[string]any) string {
	if example, ok := parameter["example"]; ok {
		return fmt.Sprint(example)
	}
	examples, _ := parameter["schema"].(map[string]any)["examples"].([]any)
	if len(examples) == 0 {
		return ""
	}
	return fmt.Sprint(examples[0])
}

// wrongRequest is a request in which something is wrong.
type wrongRequest struct {
	method, path, query string
	header              http.Header
	body                []byte
	impossible          string // why the document rules it out; "": it may be right by chance
}

func (r *wrongRequest) String() string {
	return fmt.Sprintf("%s %s?%s %v %q", r.method, r.path, r.query, r.header, r.body)
}

func (r *wrongRequest) send(base string, v *visitor) (int, error) {
	at, err := url.Parse(base + r.path)
	if err != nil {
		return 0, err
	}
	at.RawQuery = r.query
	req := &http.Request{Method: r.method, URL: at, Host: at.Host, Header: r.header}
	if r.body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
	}
	req.Header.Set("X-Forwarded-For", newAddress()) // or limits would be all that is answered
	resp, err := v.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// wrong makes a request of an operation and spoils it.
func (c *contract) wrong(random *rand.Rand, op documented) *wrongRequest {
	r := &wrongRequest{method: op.method, header: http.Header{}}
	segments := strings.Split(op.path, "/")
	query := url.Values{}
	for _, p := range op.parameters {
		name, example := p["name"].(string), exampleOf(p)
		switch p["in"] {
		case "path":
			i := slices.Index(segments, "{"+name+"}")
			segments[i] = url.PathEscape(example)
		case "header":
			if p["required"] == true {
				r.header.Set(name, uuid.NewString())
			}
		}
	}
	body := maps.Clone(op.body)
	if op.body != nil {
		r.header.Set("Content-Type", "application/json")
	}
	rawQuery, rawBody := "", []byte(nil)
	for range 1 + random.IntN(2) {
		switch kind := random.IntN(20); {
		case kind < 3 || kind < 10 && body == nil:
			spoilParameter(random, op, segments, query, r.header)
		case kind < 10 && body != nil:
			spoilBody(random, op.fields, body)
		case kind < 13 && body != nil:
			encoded, err := json.Marshal(body)
			if err != nil {
				panic(err) // it is made of texts and numbers
			}
			rawBody = spoilBytes(random, encoded)
		case kind == 13:
			r.method = pick(random, "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "PROPFIND", "X")
		case kind == 14:
			rawQuery = pick(random, "%zz", "a;b", "=", "&&&", "limit=1&limit=2", "%", "a="+strings.Repeat("b", 9000))
		case kind == 15:
			segments = append(segments, pick(random, "", "..", ".", "%00", "x", "%2e%2e", "%ff"))
		case kind == 16 || kind == 17:
			rawBody = []byte(pick(random, "", "x", "{}", "[]", "null", `{"quantity": 1}`, strings.Repeat("y", 20_000)))
		default:
			spoilHeader(random, r.header)
		}
	}
	r.path, r.query = strings.Join(segments, "/"), query.Encode()
	if rawQuery != "" {
		r.query = strings.Trim(r.query+"&"+rawQuery, "&")
	}
	r.body = rawBody
	if rawBody == nil && body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			panic(err) // as above
		}
		r.body = encoded
	}
	r.impossible = c.ruledOut(op, r, query)
	return r
}

// ruledOut says why the document does not allow a request, if it does not.
func (c *contract) ruledOut(op documented, r *wrongRequest, query url.Values) string {
	if r.method != op.method {
		return ""
	}
	for i, p := range op.parameters {
		name := p["name"].(string)
		if p["in"] != "query" || !query.Has(name) || query.Get(name) == "" {
			continue
		}
		var value any = query.Get(name)
		if schema := p["schema"].(map[string]any); schema["type"] == "integer" {
			value = json.Number(query.Get(name))
			if _, err := strconv.ParseInt(query.Get(name), 10, 64); err != nil {
				value = "not a whole number"
			}
		}
		at := "/paths/" + pointerEscape.Replace(op.path) + "/" + strings.ToLower(op.method) + "/parameters/" + strconv.Itoa(i) + "/schema"
		if err := c.validate(at, value); err != nil {
			return fmt.Sprintf("parameter %s can't be %q", name, query.Get(name))
		}
	}
	if op.body == nil {
		return ""
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.body))
	if err != nil {
		return "the body is not JSON"
	}
	if err := c.validate(op.schema, value); err != nil {
		return fmt.Sprintf("the body does not fit: %v", err)
	}
	return ""
}

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// nasty is a text that is seldom what a field is for.
func nasty(random *rand.Rand) string {
	runes := []rune{0, '\n', '\t', ' ', '"', '\'', '\\', '/', '%', ';', '<', 0x7f, 0x85, 'ä', 'K', 0x202e, 0xfffd, 0x1f600, 'a', '1', '-'}
	switch random.IntN(5) {
	case 0:
		return pick(random, "", " ", "null", "undefined", "NaN", "-1", "0", "1e309", "true", "../../etc/passwd", "' OR 1=1 --", "${jndi:x}", "{{7*7}}", "%s%n",
			"00000000-0000-0000-0000-000000000000", "99999999999999999999", "AURORA-55-OLED\x00")
	case 1:
		return strings.Repeat(string(pick(random, runes...)), pick(random, 1, 64, 65, 100, 101, 255, 256, 513, 2049))
	default:
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteRune(pick(random, runes...))
		}
		return b.String()
	}
}

// nastyValue is a JSON value that is seldom what a field is for.
func nastyValue(random *rand.Rand) any {
	switch random.IntN(4) {
	case 0:
		return pick[any](random, nil, true, false, []any{}, map[string]any{}, []any{nil, 1}, map[string]any{"a": []any{}})
	case 1:
		return pick[any](random, 0, -1, 1.5, 1001, 1e18, 1e300, -0.1, json.Number("9223372036854775808"), json.Number("1e400"), json.Number("1.0"))
	default:
		return nasty(random)
	}
}

func spoilBody(random *rand.Rand, fields []string, body map[string]any) {
	name := pick(random, fields...)
	switch random.IntN(6) {
	case 0:
		delete(body, name)
	case 1:
		body[nasty(random)] = nastyValue(random)
	case 2:
		body[strings.ToUpper(name)] = body[name]
	default:
		body[name] = nastyValue(random)
	}
}

// spoilBytes breaks what was JSON, or what was UTF-8 in it.
func spoilBytes(random *rand.Rand, body []byte) []byte {
	i := random.IntN(len(body))
	switch random.IntN(7) {
	case 0:
		return body[:i]
	case 1:
		return append(body, pick(random, "{}", "x", "\x00", "// and more")...)
	case 2:
		return append([]byte(pick(random, "\ufeff", "\xff\xfe", "[", ")]}',\n")), body...)
	case 3:
		return slices.Insert(body, i, pick[byte](random, 0, 0xff, 0xc0, '\\', '"', '}', 'u'))
	case 4:
		return bytes.ReplaceAll(body, []byte(`":"`), []byte(`":"`+pick(random, `\ud800`, `\u0000`, `\u202e`, `\x41`, "\xc3\x28")))
	case 5:
		return []byte(strings.Repeat("[", pick(random, 10, 5_000)))
	default:
		return append(append(body[:len(body)-1:len(body)-1], ','), body[1:]...) // each field twice
	}
}

func spoilParameter(random *rand.Rand, op documented, segments []string, query url.Values, header http.Header) {
	if len(op.parameters) == 0 || random.IntN(8) == 0 {
		query.Set(nasty(random), nasty(random))
		return
	}
	p := pick(random, op.parameters...)
	value := nasty(random)
	switch p["in"] {
	case "path":
		segments[len(segments)-1] = url.PathEscape(value)
	case "query":
		query.Set(p["name"].(string), value)
	case "header":
		header.Set(p["name"].(string), sendable(value))
	}
}

func spoilHeader(random *rand.Rand, header http.Header) {
	name := pick(random, "Content-Type", "Content-Encoding", "Accept", "Cookie", "X-Request-Id", "Origin", "Sec-Fetch-Site", "Range", "Accept-Encoding",
		"X-Http-Method-Override", "If-Match", "If-None-Match", "Authorization", "Te", "Traceparent")
	value := pick(random, nasty(random), "*/*", "text/plain", "application/json; charset=utf-16", "gzip", "null", "cross-site", "session=x", "bytes=0-1",
		"https://evil.example", `W/"x", *`, "application/json, text/plain", "Application/JSON", "application/x-www-form-urlencoded")
	header.Set(name, sendable(value))
}

// sendable is as much of a text as net/http sends in a header.
func sendable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
}
