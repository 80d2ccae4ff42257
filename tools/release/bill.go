package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// bill is a CycloneDX bill of materials, version 1.6: https://cyclonedx.org/docs/1.6/json/
type bill struct {
	Format     string      `json:"bomFormat"`   //nolint:tagliatelle // of CycloneDX
	Spec       string      `json:"specVersion"` //nolint:tagliatelle // of CycloneDX
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"` //nolint:tagliatelle // of CycloneDX
	Name    string `json:"name"`
	Version string `json:"version"`
	Purl    string `json:"purl"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

// billOfMaterials lists what is linked into a binary, as the binary itself says: its modules, and Go's standard library.
func billOfMaterials(program, version string, made time.Time) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("read what the binary is made of: %w", err)
	}
	list := bill{
		Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: metadata{
			Timestamp: made.UTC().Format(time.RFC3339), Component: componentOf("application", debug.Module{Path: info.Main.Path, Version: version}),
		},
		Components: []component{componentOf("library", debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")})},
	}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		list.Components = append(list.Components, componentOf("library", *module))
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return append(data, '\n'), nil
}

// componentOf names a module by its package URL: https://github.com/package-url/purl-spec
func componentOf(kind string, module debug.Module) component {
	purl := "pkg:golang/" + module.Path + "@" + strings.ReplaceAll(module.Version, "+", "%2B")
	c := component{Type: kind, Ref: purl, Name: module.Path, Version: module.Version, Purl: purl}
	// h1: is a hash of the list of the module's files, as go.sum has it: https://go.dev/ref/mod#go-sum-files
	if sum, ok := strings.CutPrefix(module.Sum, "h1:"); ok {
		if raw, err := base64.StdEncoding.DecodeString(sum); err == nil {
			c.Hashes = []hash{{Algorithm: "SHA-256", Content: hex.EncodeToString(raw)}}
		}
	}
	return c
}
