package cluster_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// systems are those that a program which uses this package has to build for.
var systems = []string{"linux", "darwin", "windows"}

// A program that uses any of this package builds on every system: all have the
// same exported names with the same types.
func TestAPIIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	here := apiOf(t, systems[0])
	if len(here) < 50 {
		t.Fatalf("only %d exported names are found", len(here))
	}
	for _, system := range systems[1:] {
		if diff := cmp.Diff(here, apiOf(t, system)); diff != "" {
			t.Errorf("%s (-) and %s (+):\n%s", systems[0], system, diff)
		}
	}
}

// testdata/api uses every exported name, and builds for every system.
func TestProgramWithTheWholeAPI(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	program, err := parser.ParseFile(token.NewFileSet(), filepath.Join("testdata", "api", "main.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(program, func(n ast.Node) bool {
		if name, ok := n.(*ast.Ident); ok {
			used[name.Name] = true
		}
		return true
	})
	for name := range apiOf(t, systems[0]) {
		if last := name[strings.LastIndexByte(name, '.')+1:]; !used[last] {
			t.Errorf("testdata/api does not use %s", name)
		}
	}
	for _, system := range systems {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, "./testdata/api")
			cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// apiOf returns the exported names of this package on a system: functions,
// methods as Type.Name, types, fields as Type.Name, constants and variables,
// with their types as far as they are written down.
func apiOf(t *testing.T, system string) map[string]string {
	t.Helper()
	ctx := build.Default
	ctx.GOOS, ctx.CgoEnabled = system, false
	pkg, err := ctx.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	api := map[string]string{}
	for _, file := range pkg.GoFiles {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				maps.Copy(api, functionAPI(decl))
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					maps.Copy(api, specAPI(spec))
				}
			}
		}
	}
	return api
}

func functionAPI(f *ast.FuncDecl) map[string]string {
	if !f.Name.IsExported() {
		return nil
	}
	name := f.Name.Name
	if f.Recv != nil {
		receiver := strings.TrimPrefix(typeText(f.Recv.List[0].Type), "*")
		if !ast.IsExported(receiver) {
			return nil
		}
		name = receiver + "." + name
	}
	return map[string]string{name: typeText(f.Type)}
}

func specAPI(spec ast.Spec) map[string]string {
	api := map[string]string{}
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		name := spec.Name.Name
		if !spec.Name.IsExported() {
			return nil
		}
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			api[name] = typeText(spec.Type)
			break
		}
		api[name] = "struct"
		for _, field := range fields.Fields.List {
			for _, n := range field.Names {
				if n.IsExported() {
					api[name+"."+n.Name] = typeText(field.Type)
				}
			}
		}
	case *ast.ValueSpec:
		for _, n := range spec.Names {
			if n.IsExported() {
				api[n.Name] = "value"
			}
		}
	}
	return api
}

// typeText prints a type without the names of parameters, which may differ.
func typeText(e ast.Expr) string {
	if f, ok := e.(*ast.FuncType); ok {
		return fmt.Sprintf("func(%s) (%s)", fieldTypes(f.Params), fieldTypes(f.Results))
	}
	var text bytes.Buffer
	if err := printer.Fprint(&text, token.NewFileSet(), e); err != nil {
		panic(err)
	}
	return text.String()
}

func fieldTypes(list *ast.FieldList) string {
	if list == nil {
		return ""
	}
	var types []string
	for _, field := range list.List {
		types = append(types, slices.Repeat([]string{typeText(field.Type)}, max(1, len(field.Names)))...)
	}
	return strings.Join(types, ", ")
}
