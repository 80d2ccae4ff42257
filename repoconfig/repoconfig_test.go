package repoconfig_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

// whole uses every key that is in effect.
const whole = `
version: 1
application: network
environments:
  dev:  { branch: develop }
  test: { branch: [release, "release/*"] }
  prod:
    branch: main
    after: [dev, test]
    approvals: 2
    regions: [westeurope, southeastasia]
    runs_on: [self-hosted, westeurope]
  uat: { branch: "uat/*", approvals: 0, binding: strict }
  staging: { branch: staging, approvals: 6, regions: [westeurope, uksouth], runs_on: { westeurope: [self-hosted, west], uksouth: uk } }
roots:
  - dir: src/terraform
    var_files: ["env/{environment}.tfvars", "../shared/{application}.tfvars"]
    backend: { key: "{application}-{environment}", use_azuread_auth: true, retries: 3 }
  - dir: .
    backend: { key: "top-{environment}" }
    region: westeurope
flow:
  allow:
    - { from: "renovate/**", to: develop }
risk: { block: [replace-stateful, access], stateful: [azurerm_search_service] }
mask: ['AccountKey=[A-Za-z0-9+/=]{20,}', "(?i)bearer\\s+\\S+"]
machine_authors: [noreply@assistant.example]
executor: actions
actions: { workflow: terraform.yml, plans: plans }
modules: [acme/terraform-azurerm-stamp]
terraform: { binary: tofu, version: 1.11.4 }
commands:
  apply: { permission: maintain, teams: [sre, on-call] }
  status: { teams: [sre] }
  unlock: { confirm: 0 }
  break-lease: { permission: admin, confirm: 1, reason: true }
`

func TestAFileIsReadWhole(t *testing.T) {
	t.Parallel()
	got, err := repoconfig.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := repoconfig.Config{
		Version:     1,
		Application: "network",
		Environments: []repoconfig.Environment{
			{Name: "dev", Branches: []string{"develop"}, Binding: operation.BindNoNewRisk},
			{Name: "test", Branches: []string{"release", "release/*"}, Binding: operation.BindNoNewRisk},
			{
				Name: "prod", Branches: []string{"main"}, After: []string{"dev", "test"}, Approvals: 2, Binding: operation.BindStrict,
				Regions: []string{"westeurope", "southeastasia"}, RunsOn: []string{"self-hosted", "westeurope"},
			},
			{Name: "uat", Branches: []string{"uat/*"}, Binding: operation.BindStrict},
			{
				Name: "staging", Branches: []string{"staging"}, Approvals: 6, Binding: operation.BindStrict,
				Regions:  []string{"westeurope", "uksouth"},
				RunsOnIn: map[string][]string{"westeurope": {"self-hosted", "west"}, "uksouth": {"uk"}},
			},
		},
		Roots: []repoconfig.Root{
			{
				Dir: "src/terraform", VarFiles: []string{"env/{environment}.tfvars", "../shared/network.tfvars"},
				Backend: map[string]string{"key": "{application}-{environment}", "use_azuread_auth": "true", "retries": "3"},
			},
			{Dir: ".", VarFiles: []string{}, Backend: map[string]string{"key": "top-{environment}"}, Region: "westeurope"},
		},
		Flow: repoconfig.Flow{Allow: []repoconfig.Allow{{From: "renovate/**", To: "develop"}}},
		Risk: repoconfig.Risk{
			Block: []operation.RiskRule{operation.RiskReplaceStateful, operation.RiskAccess}, Stateful: []string{"azurerm_search_service"},
		},
		Mask:           []string{`AccountKey=[A-Za-z0-9+/=]{20,}`, `(?i)bearer\s+\S+`},
		MachineAuthors: []string{"noreply@assistant.example"},
		Executor:       repoconfig.ExecutorActions,
		Actions:        repoconfig.Actions{Workflow: "terraform.yml", Plans: "plans"},
		Modules:        []string{"acme/terraform-azurerm-stamp"},
		Terraform:      repoconfig.Terraform{Binary: repoconfig.BinaryTofu, Version: "1.11.4"},
		Commands: map[string]repoconfig.Command{
			"apply": {Permission: "maintain", Teams: []string{"sre", "on-call"}}, "status": {Teams: []string{"sre"}},
			"unlock": {Confirm: new(0)}, "break-lease": {Permission: "admin", Confirm: new(1), Reason: true},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPlaceholdersAreFilledOnce(t *testing.T) {
	t.Parallel()
	root := repoconfig.Root{
		VarFiles: []string{"env/{environment}.tfvars", "{environment}/{environment}.tfvars"},
		Backend:  map[string]string{"key": "{application}-{environment}", "container_name": "tfstate"},
	}
	want := map[string]string{"key": "{environment}-prod", "container_name": "tfstate"}
	if diff := cmp.Diff(want, root.BackendFor("{environment}", "prod")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	files := []string{"env/prod.tfvars", "prod/prod.tfvars"}
	if diff := cmp.Diff(files, root.VarFilesFor("prod")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestWhatIsWrongIsSaid shows each kind of mistake with the answer that people get.
func TestWhatIsWrongIsSaid(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/refused/*.yml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file) //nolint:gosec // the names come from Glob
			if err != nil {
				t.Fatal(err)
			}
			config, err := repoconfig.Parse(data)
			problems := refused(t, data, config, err)
			same(t, strings.TrimSuffix(file, ".yml")+".golden", problems.Error()+"\n")
		})
	}
}

// refused checks what holds for every file that is not accepted.
func refused(t *testing.T, data []byte, config repoconfig.Config, err error) *repoconfig.Problems {
	t.Helper()
	var problems *repoconfig.Problems
	if !errors.As(err, &problems) || len(*problems) == 0 {
		t.Fatalf("no problems: %v", err)
	}
	if diff := cmp.Diff(repoconfig.Config{}, config); diff != "" {
		t.Errorf("a broken file gave a configuration:\n%s", diff)
	}
	lines := 2 // https://yaml.org/spec/1.1/#id871136 lists what ends a line
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		lines += bytes.Count(data, []byte(end))
	}
	for _, problem := range *problems {
		if problem.Line < 1 || problem.Column < 1 || problem.Line > lines {
			t.Errorf("no such place: %v", problem)
		}
		if strings.ContainsFunc(problem.String(), func(r rune) bool { return r < ' ' || r == 0x202E }) {
			t.Errorf("invisible characters in %q", problem.String())
		}
		if len(problem.String()) > 2000 {
			t.Errorf("endless: %s", problem)
		}
	}
	return problems
}

func same(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file) //nolint:gosec // a golden file of this package
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-golden +now):\n%s", file, diff)
	}
}

func TestHostileFilesAreRefusedAndCheap(t *testing.T) {
	t.Parallel()
	var bomb, stars strings.Builder
	bomb.WriteString("version: 1\na: &a [x]\n")
	for i := 'b'; i < 'k'; i++ {
		fmt.Fprintf(&bomb, "%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat("*"+string(i-1)+", ", 9), ", "))
	}
	stars.WriteString("version: 1\nroots: [{ dir: a, backend: { key: \"{environment}\" } }]\nenvironments:\n")
	for i := range 50 {
		fmt.Fprintf(&stars, "  e%d: { branch: [%q, %q] }\n", i, strings.Repeat("*a", 49), strings.Repeat("a*", 49))
	}
	for name, file := range map[string]string{
		"an alias bomb":              bomb.String(),
		"a file that is too large":   "version: 1 #" + strings.Repeat("x", 64<<10),
		"deep nesting":               strings.Repeat("[", 30_000),
		"deep indentation":           strings.Repeat("- ", 30_000),
		"patterns that are all star": stars.String(),
		"many keys":                  strings.Repeat("x: 1\n", 12_000),
		"environments in a ring":     ring(50),
		"expressions that repeat":    "mask:\n" + strings.Repeat("  - '"+strings.Repeat(".{1000}", 28)+"'\n", 20),
		"expressions within others":  "mask: ['" + strings.Repeat("(", 99) + "x" + strings.Repeat("+)", 49) + "']",
		"a null byte":                "version: 1\x00",
		"no UTF-8":                   "version: \xff\xfe",
		"nothing":                    "",
		"a comment":                  "# later\n",
		"an own tag":                 "version: !!binary MQ==\n",
		"a list":                     "- version: 1\n",
		"a merge key":                "<<: { version: 1 }\n",
		"text":                       "Hello",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := repoconfig.Parse([]byte(file))
			problems := refused(t, []byte(file), config, err)
			if len(problems.Error()) > 32<<10 {
				t.Errorf("%d bytes of error", len(problems.Error()))
			}
		})
	}
}

// ring is a file in which each environment comes after ten others, and all of them are in circles.
func ring(n int) string {
	var file strings.Builder
	file.WriteString("version: 1\nroots: [{ dir: a, backend: { key: \"{environment}\" } }]\nenvironments:\n")
	for i := range n {
		fmt.Fprintf(&file, "  e%s%d: { branch: b%d, after: [", strings.Repeat("x", 55), i, i)
		for j := range 10 {
			fmt.Fprintf(&file, "e%s%d,", strings.Repeat("x", 55), (i+j+1)%n)
		}
		file.WriteString("] }\n")
	}
	return file.String()
}

// TestEveryRiskCanBeBlocked holds the names in the file to the words of the product.
func TestEveryRiskCanBeBlocked(t *testing.T) {
	t.Parallel()
	tree, err := parser.ParseFile(token.NewFileSet(), "../operation/contract.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	ast.Inspect(tree, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "RiskRule" {
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is no literal", spec.Names[0].Name)
			}
			rules = append(rules, strings.Trim(literal.Value, `"`))
		}
		return true
	})
	if len(rules) == 0 {
		t.Fatal("no rules were found")
	}
	config, err := repoconfig.Parse([]byte(strings.Replace(whole, "[replace-stateful, access]", "["+strings.Join(rules, ", ")+"]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		if !config.Risk.Blocks(operation.RiskRule(rule)) {
			t.Errorf("%s is not blocked", rule)
		}
	}
}

func TestBindingIsStrictWherePeopleMustApprove(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]operation.Binding{
		"":                                operation.BindNoNewRisk,
		", approvals: 0":                  operation.BindNoNewRisk,
		", approvals: 1":                  operation.BindStrict,
		", approvals: 6":                  operation.BindStrict,
		", approvals: 1, binding: strict": operation.BindStrict,
		", binding: no-new-risk":          operation.BindNoNewRisk,
	} {
		config, err := repoconfig.Parse([]byte("version: 1\nroots: [{ dir: a }]\nenvironments: { dev: { branch: develop" + keys + " } }\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Environments[0].Binding; got != want {
			t.Errorf("%q: %s, want %s", keys, got, want)
		}
	}
	for _, environment := range repoconfig.Default().Environments {
		if environment.Binding == "" {
			t.Errorf("%s has no binding without a file", environment.Name)
		}
	}
}

func TestMasksAreCompiled(t *testing.T) {
	t.Parallel()
	config, err := repoconfig.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	text := "AccountKey=" + strings.Repeat("a", 24) + "; Authorization: BEARER abc"
	for _, pattern := range config.MaskPatterns() {
		text = pattern.ReplaceAllString(text, "***")
	}
	if text != "***; Authorization: ***" {
		t.Error(text)
	}
}

func TestPatternsMatchBranches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"main", "main", true},
		{"main", "Main", false},
		{"main", "main2", false},
		{"main", "origin/main", false},
		{"release/*", "release/1.0", true},
		{"release/*", "release/a/b", false},
		{"release/*", "release", false},
		{"release/**", "release/a/b", true},
		{"**", "anything/at/all", true},
		{"*", "a/b", false},
		{"**/x", "a/b/x", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-b-b-d", false},
		{"a?c", "abc", false},
		{"a[b]c", "abc", false},
		{"a.c", "abc", false},
		{"größe/*", "größe/é", true},
		{strings.Repeat("*a", 50), strings.Repeat("a", 5000) + "b", false},
	} {
		if got := repoconfig.Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%.20q, %.20q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestTheNearestWordIsFoundOrNone(t *testing.T) {
	t.Parallel()
	words := []string{"plan", "apply", "cancel", "status", "why"}
	for word, want := range map[string]string{
		"aply": "apply", "Apply": "apply", "palpy": "", "plna": "plan", "cancle": "cancel", "stats": "status", "stat": "status",
		"destroy": "", "": "", "wh": "why", "x": "", strings.Repeat("a", 1000): "",
	} {
		if got := repoconfig.Nearest(word, words); got != want {
			t.Errorf("Nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

func TestTheDefaultIsWhatAFileCouldSay(t *testing.T) {
	t.Parallel()
	config := repoconfig.Default()
	for branch, want := range map[string]string{
		"develop": "dev", "release": "test", "release/1.0": "test", "main": "prod",
		"release/a/b": "", "master": "", "feature/a": "", "": "",
	} {
		environment, ok := config.EnvironmentOf(branch)
		if environment.Name != want || ok != (want != "") {
			t.Errorf("%q deploys to %q, want %q", branch, environment.Name, want)
		}
	}
	if !config.Default {
		t.Error("it is not marked as the default")
	}
}

func TestEveryCommandHasItsLeastPermission(t *testing.T) {
	t.Parallel()
	config := repoconfig.Config{Commands: map[string]repoconfig.Command{"plan": {Permission: "admin"}, "apply": {Permission: "read"}}}
	for name, want := range map[string]string{"plan": "admin", "apply": "write", "unlock": "maintain", "help": "read", "nonsense": ""} {
		if got := config.Permission(name); got != want {
			t.Errorf("/%s needs %q, want %q", name, got, want)
		}
	}
	for _, name := range operation.CommandNames() {
		if config.Permission(name) == "" {
			t.Errorf("/%s needs nothing", name)
		}
	}
}

func compiled(t *testing.T) (map[string]any, *jsonschema.Schema) {
	t.Helper()
	data, err := repoconfig.Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("switchyard.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("switchyard.json")
	if err != nil {
		t.Fatal(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(data, &plain); err != nil {
		t.Fatal(err)
	}
	return plain, schema
}

func validates(t *testing.T, schema *jsonschema.Schema, file []byte) error {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(file, &value); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance) //nolint:wrapcheck // a test shows it as it is
}

func TestTheSchemaAgreesWithTheParser(t *testing.T) {
	t.Parallel()
	_, schema := compiled(t)
	if err := validates(t, schema, []byte(whole)); err != nil {
		t.Errorf("the schema refuses a good file: %v", err)
	}
	for name, file := range map[string]string{
		"an unknown key":                     strings.Replace(whole, "executor:", "exekutor:", 1),
		"a key that is not in effect":        strings.Replace(whole, "branch: main", "branch: main\n    hold: root", 1),
		"an author that is no address":       strings.Replace(whole, "noreply@assistant.example", "Assistant <noreply@assistant.example>", 1),
		"more approvals than GitHub knows":   strings.Replace(whole, "approvals: 2", "approvals: 7", 1),
		"fewer approvals than none":          strings.Replace(whole, "approvals: 2", "approvals: -1", 1),
		"a part of an approval":              strings.Replace(whole, "approvals: 2", "approvals: 1.5", 1),
		"a binding that does not exist":      strings.Replace(whole, "binding: strict", "binding: loose", 1),
		"a risk that does not exist":         strings.Replace(whole, "replace-stateful", "replace-stateless", 1),
		"a type that is an address":          strings.Replace(whole, "azurerm_search_service", "azurerm_search_service.main", 1),
		"an expression that is empty":        strings.Replace(whole, "'AccountKey=[A-Za-z0-9+/=]{20,}'", "''", 1),
		"an executor that does not exist":    strings.Replace(whole, "executor: actions", "executor: jenkins", 1),
		"a label without a name":             strings.Replace(whole, "runs_on: [self-hosted", "runs_on: [\"\"", 1),
		"a label of a region without a name": strings.Replace(whole, "uksouth: uk }", "uksouth: [] }", 1),
		"labels by region that are a list":   strings.Replace(whole, "uksouth: uk }", "uksouth: { a: b } }", 1),
		"another version of the format":      strings.Replace(whole, "version: 1\n", "version: 2\n", 1),
		"no roots":                           strings.Replace(whole, "roots:", "flow2:", 1),
		"a version that is not exact":        strings.Replace(whole, "1.11.4", "~> 1.11", 1),
		"a command that does not exist":      strings.Replace(whole, "  status:", "  stats:", 1),
		"an application with a slash":        strings.Replace(whole, "application: network", "application: a/b", 1),
		"an environment that has a space":    strings.Replace(whole, "  dev:", "  \"d v\":", 1),
		"a permission that does not exist":   strings.Replace(whole, "maintain", "owner", 1),
		"a list where one text is expected":  strings.Replace(whole, "dir: src/terraform", "dir: [src/terraform]", 1),
		"a pair of branches without its end": strings.Replace(whole, ", to: develop", "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if file == whole {
				t.Fatal("the case changes nothing")
			}
			if err := validates(t, schema, []byte(file)); err == nil {
				t.Error("the schema accepts it")
			}
			if _, err := repoconfig.Parse([]byte(file)); err == nil {
				t.Error("the parser accepts it")
			}
		})
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	t.Parallel()
	plain, _ := compiled(t)
	reference, err := repoconfig.Reference()
	if err != nil {
		t.Fatal(err)
	}
	described := 0
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			properties = nil
		}
		for name, child := range properties {
			inner, ok := child.(map[string]any)
			if !ok {
				t.Fatalf("%s.%s is %v", path, name, child)
			}
			text := fmt.Sprint(inner["description"])
			if !strings.HasPrefix(text, "`"+name+"` ") || !strings.HasSuffix(text, ".") {
				t.Errorf("%s.%s is described as %q", path, name, text)
			}
			if !strings.Contains(reference, strings.ReplaceAll(text, "|", `\|`)) {
				t.Errorf("the reference lacks %s.%s", path, name)
			}
			described++
			walk(path+"."+name, inner)
		}
		for _, key := range []string{"items", "additionalProperties"} {
			if inner, ok := schema[key].(map[string]any); ok {
				walk(path, inner)
			}
		}
	}
	walk("", plain)
	if described != 36 {
		t.Errorf("%d keys were found; is one lost, or is one new and not tested?", described)
	}
	same(t, "testdata/reference.md", reference)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("\"\r\r"))
	cases, err := filepath.Glob("testdata/refused/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range cases {
		data, err := os.ReadFile(file) //nolint:gosec // the names come from Glob
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := repoconfig.Parse(data)
		if err != nil {
			_ = refused(t, data, config, err)
			return
		}
		accepted(t, config)
	})
}

// accepted checks what everybody relies on in a configuration that was accepted.
func accepted(t *testing.T, config repoconfig.Config) {
	t.Helper()
	if config.Version != 1 || len(config.Environments) == 0 || len(config.Roots) == 0 || config.Default {
		t.Fatalf("accepted: %+v", config)
	}
	for _, root := range config.Roots {
		if root.Dir == "" || !filepath.IsLocal(root.Dir) {
			t.Fatalf("a root outside the repository: %q", root.Dir)
		}
		for _, file := range root.VarFilesFor("dev") {
			if strings.ContainsAny(file, "{}") || !filepath.IsLocal(filepath.Join(root.Dir, file)) {
				t.Fatalf("a var file outside the repository: %q", file)
			}
		}
	}
	if len(config.MaskPatterns()) != len(config.Mask) {
		t.Fatalf("masks that are not compiled: %q", config.Mask)
	}
	for _, pattern := range config.MaskPatterns() {
		if slices.ContainsFunc(pattern.FindAllString("a b1-_=/\n\tä", -1), func(found string) bool { return found == "" }) {
			t.Fatalf("a mask of nothing: %q", pattern)
		}
	}
	for _, environment := range config.Environments {
		if environment.Binding == "" || environment.Approvals < 0 || slices.Contains(environment.After, environment.Name) {
			t.Fatalf("accepted: %+v", environment)
		}
		for _, before := range environment.After {
			if earlier, ok := config.Environment(before); !ok || slices.Contains(earlier.After, environment.Name) {
				t.Fatalf("%s is after %s", environment.Name, before)
			}
		}
		for _, pattern := range environment.Branches {
			branch := strings.ReplaceAll(strings.ReplaceAll(pattern, "**", "x"), "*", "x")
			if found, ok := config.EnvironmentOf(branch); !ok || found.Name != environment.Name {
				t.Fatalf("%q belongs to %q and to %q", branch, environment.Name, found.Name)
			}
		}
	}
}

func TestTheAddressesThatMayBeOfPeople(t *testing.T) {
	t.Parallel()
	config, err := repoconfig.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	named := []string{"ana@acme.example", "NoReply@assistant.example", "noreply@assistant.example.evil"}
	if diff := cmp.Diff([]string{named[0], named[2]}, config.People(named)); diff != "" || len(named) != 3 || named[1] == "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
