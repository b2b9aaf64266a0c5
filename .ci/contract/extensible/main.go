// Extensible prints an OpenAPI document without the enum of each schema that also
// has an x-extensible-enum. Generators of clients read the first, and oasdiff
// would call each new value of it a breaking change.
//
//	go run ./extensible FILE
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: extensible FILE")
		os.Exit(2)
	}
	if err := extend(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "extensible:", err)
		os.Exit(1)
	}
}

func extend(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	withoutEnums(doc)
	return json.NewEncoder(os.Stdout).Encode(doc)
}

func withoutEnums(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			withoutEnums(e)
		}
	case map[string]any:
		if _, ok := v["x-extensible-enum"]; ok {
			delete(v, "enum")
		}
		for _, e := range v {
			withoutEnums(e)
		}
	}
}
