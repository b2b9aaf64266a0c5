package app

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// documentCatalogue describes the plain handlers in the OpenAPI document.
func documentCatalogue(api huma.API) {
	param := func(name, in, doc string, schema *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: in, Description: doc, Schema: schema, Required: in == "path"}
	}
	text := func(longest int, pattern string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, MaxLength: &longest, Pattern: pattern}
	}
	least, most := float64(1), float64(maxLimit)
	ifNoneMatch := param("If-None-Match", "header", "ETags that the client has; 304 when one is current", &huma.Schema{Type: huma.TypeString})
	add := func(id, path, summary string, schema *huma.Schema, headers map[string]*huma.Header, params []*huma.Param, statuses ...int) {
		op := strangers(api, operation(http.MethodGet, path, id, catalogueTag, summary, append(statuses, http.StatusServiceUnavailable)...))
		op.Parameters = append(params, ifNoneMatch)
		op.Responses["200"] = &huma.Response{
			Description: "OK", Headers: headers,
			Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}
		op.Responses["304"] = &huma.Response{Description: "The client's copy is current", Headers: headers}
		api.OpenAPI().AddOperation(&op)
	}
	add("list-products", "/v1/products", "List and search products", schemaOf[ProductList](api, "ProductList"), commonHeaders(headerETag, headerLink), []*huma.Param{
		param("limit", "query", "Products per page", &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Default: defaultLimit}),
		param("cursor", "query", "next_cursor of the page before, with the other parameters as they were", text(maxCursor, cursorPattern)),
		param("category", "query", "Slug of a category, in any case", text(maxQuery, "")),
		param("q", "query", `Words to search for, as on the web: "quoted phrase", or, -without. Also a SKU, the beginning of one that has a digit or a hyphen, `+
			`or a slug. Where all are plain words and no product has the last, what begins with it is found`, text(maxQuery, "")),
	}, http.StatusNotFound, http.StatusUnprocessableEntity)
	add("list-categories", "/v1/categories", "List the categories", schemaOf[CategoryList](api, "CategoryList"), commonHeaders(headerETag), nil,
		http.StatusUnprocessableEntity)
	slug := param("slug", "path", "Slug of the product: lower-case letters, digits and hyphens. Any other is not found", text(maxQuery, ""))
	slug.Example = "aurora-55-oled-tv"
	add("get-product", productPath+"{slug}", "Get one product", schemaOf[Product](api, "Product"), commonHeaders(headerETag), []*huma.Param{slug}, http.StatusNotFound)
}
