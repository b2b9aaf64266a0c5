package app

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
)

// ProblemKind is what the type of a problem leads to.
type ProblemKind struct {
	Type   string `json:"type" format:"uri-reference" doc:"The type of such problems" example:"/problems/out-of-stock"`
	Code   string `json:"code" doc:"The code of such problems" example:"out-of-stock"`
	Title  string `json:"title" doc:"Their title"`
	Status []int  `json:"status" nullable:"false" minItems:"1" doc:"HTTP status codes that they are answered with"`
	Means  string `json:"means" doc:"What has happened"`
	Remedy string `json:"remedy" doc:"What a client does about it"`
}

var problemPage = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Code}}: {{.Title}}</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>{{.Title}}</h1>
<p><code>{{.Code}}</code>, answered with{{range $i, $s := .Status}}{{if $i}} or{{end}} {{$s}}{{end}}</p>
<p>{{.Means}}</p>
<p>{{.Remedy}}</p>
<p><a href="/docs">The API</a></p>
`))

// problemPages are the pages of all codes.
type problemPages map[string]problemText

type problemText struct{ html, json []byte }

func newProblemPages() (problemPages, error) {
	pages := problemPages{}
	for _, k := range kinds {
		view := ProblemKind{Type: typePath + k.code, Code: k.code, Title: k.title, Status: k.status, Means: k.means, Remedy: k.remedy}
		var page bytes.Buffer
		if err := problemPage.Execute(&page, view); err != nil {
			return nil, fmt.Errorf("make the page of problem %s: %w", k.code, err)
		}
		body, err := encodeJSON(view)
		if err != nil {
			return nil, err
		}
		pages[k.code] = problemText{page.Bytes(), body}
	}
	return pages, nil
}

// serve answers for a type of a problem: a page for people, and JSON for
// programs that ask for it.
func (p problemPages) serve(a *App) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, ok := p[chi.URLParam(r, "code")]
		if !ok {
			a.writeProblem(w, r, problem("not-found", "There is no problem with this code."))
			return
		}
		body, media := text.html, "text/html; charset=utf-8"
		if accept := strings.Join(r.Header.Values("Accept"), ","); strings.Contains(accept, "json") && !strings.Contains(accept, "text/html") {
			body, media = text.json, "application/json"
		}
		h := w.Header()
		h.Set("Content-Type", media)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Cache-Control", "public, max-age=3600")
		h.Add("Vary", "Accept")
		w.Write(body) //nolint:errcheck // the client may be gone
	}
}

// documentProblems describes the pages in the OpenAPI document.
func documentProblems(api huma.API) {
	op := strangers(api, operation(http.MethodGet, typePath+"{code}", "get-problem", problemTag, "Explain a code of a problem", http.StatusNotFound))
	code := &huma.Schema{Type: huma.TypeString, Examples: []any{"out-of-stock"}}
	for _, k := range kinds {
		code.Enum = append(code.Enum, k.code)
	}
	op.Parameters = []*huma.Param{{Name: "code", In: "path", Description: "Code of a problem: the end of its type", Required: true, Schema: code, Example: "out-of-stock"}}
	op.Responses["200"] = &huma.Response{
		Description: "What such a problem means",
		Headers:     commonHeaders(),
		Content: map[string]*huma.MediaType{
			"text/html":        {Schema: &huma.Schema{Type: huma.TypeString}},
			"application/json": {Schema: schemaOf[ProblemKind](api, "ProblemKind")},
		},
	}
	api.OpenAPI().AddOperation(&op)
}
