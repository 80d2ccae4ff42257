package terraform_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/switchyard-dev/switchyard/terraform"
)

// tree is the files of a repository by path.
type tree map[string]string

func (f tree) read(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, content := range f {
		if path.Dir(name) == dir {
			files[path.Base(name)] = []byte(content)
		}
	}
	if len(files) == 0 {
		return nil, fs.ErrNotExist
	}
	return files, nil
}

func call(name, source string) string {
	return fmt.Sprintf("module %q {\n  source = %q\n}\n", name, source)
}

func TestModules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files tree
		dir   string
		want  []string
	}{
		"modules of modules are found": {
			tree{
				"src/terraform/main.tf": call("a", "../modules/a") + call("r", "hashicorp/consul/aws"),
				"src/modules/a/main.tf": call("b", "./b"), "src/modules/a/b/x.tf": "",
			}, "src/terraform", []string{"src/modules/a", "src/modules/a/b"},
		},
		"a circle ends": {
			tree{"a/m.tf": call("b", "../b"), "b/m.tf": call("a", "../a") + call("self", "../b")}, "a", []string{"b"},
		},
		"the root may be the top of the tree": {
			tree{"main.tf": call("a", "./a"), "a/m.tf": ""}, ".", []string{"a"},
		},
		"what lies beyond the tree is left out": {
			tree{"a/m.tf": call("x", "../../x") + call("y", "../../../../etc") + call("z", "../b/../../c")}, "a", []string{},
		},
		"a module that is not there is named: it may have been deleted": {
			tree{"a/m.tf": call("b", "../b")}, "a", []string{"b"},
		},
		"JSON syntax": {
			tree{"a/m.tf.json": `{"module":{"b":{"source":"../b"},"c":[{"source":"../c"}]}}`}, "a", []string{"b", "c"},
		},
		"a source that is not a plain string is nobody's directory": {
			tree{"a/m.tf": "module \"b\" {\n source = var.x\n}\n" +
				"module \"c\" {\n source = \"../${var.x}\"\n}\nmodule \"d\" {\n source = [\"../d\"]\n}"},
			"a",
			[]string{},
		},
		"a module without a source, without a name, and half a block": {
			tree{"a/m.tf": "module \"b\" {}\nmodule {\n source = \"../c\"\n}\nmodule \"d\" {\n source = \"../d\"\n"}, "a", []string{"d"},
		},
		"other files are not configuration": {
			tree{"a/m.tf.bak": call("b", "../b"), "a/README.md": call("c", "../c")}, "a", []string{},
		},
		"names with blanks, quotes and letters of all kinds": {
			tree{"a/m.tf": call("b", "./my \\\"módule\\\" $(id)")}, "a", []string{`a/my \"módule\" $(id)`},
		},
		"a root that is not there has none": {tree{}, "a", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := terraform.Modules(t.Context(), c.files.read, c.dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, append([]string{}, got...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("too many are an error", func(t *testing.T) {
		t.Parallel()
		files := tree{}
		var calls strings.Builder
		for i := range terraform.MaxModules + 2 {
			calls.WriteString(call(strconv.Itoa(i), fmt.Sprintf("./m%d", i)))
		}
		files["a/m.tf"] = calls.String()
		if _, err := terraform.Modules(t.Context(), files.read, "a"); err == nil {
			t.Error("no error")
		}
	})
	t.Run("an error of the reader is told", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		_, err := terraform.Modules(t.Context(), func(string) (map[string][]byte, error) { return nil, broken }, "a")
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("it ends with its context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := terraform.Modules(ctx, tree{}.read, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Each of these files would end the process by exhausting its stack, were it given to the parser.
func TestHostileConfigurationDoesNotEndTheProcess(t *testing.T) {
	t.Parallel()
	const n = terraform.MaxSourceSize - 100
	for name, text := range map[string]string{
		"brackets":         "a = " + strings.Repeat("[", n),
		"parentheses":      "a = " + strings.Repeat("(", n),
		"objects":          strings.Repeat("a {\n", n/4),
		"templates":        "a = " + strings.Repeat("\"${", n/3),
		"directives":       "a = " + strings.Repeat("\"%{if ", n/6),
		"negations":        "a = " + strings.Repeat("!", n),
		"signs":            "a = " + strings.Repeat("-", n),
		"conditions":       "a = " + strings.Repeat("b?c:", n/4),
		"lists of nots":    "a = " + strings.Repeat("[!", n/2),
		"functions":        "a = " + strings.Repeat("f(", n/2),
		"newlines in them": "a = " + strings.Repeat("(\n", n/2),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := terraform.Modules(t.Context(), tree{"a/m.tf": text, "a/n.tf": call("b", "../b")}.read, "a")
			if err != nil || len(got) != 1 {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		files := tree{"a/m.tf.json": strings.Repeat("[", n), "a/n.tf": call("b", "../b")}
		if got, err := terraform.Modules(t.Context(), files.read, "a"); err != nil || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("a long ordinary file is read", func(t *testing.T) {
		t.Parallel()
		ordinary := strings.Repeat("locals {\n  a = [for x in var.l : x ? -1 : !y ? \"a-${x}\" : f(g(1), -2)]\n}\n", 2000) + call("b", "../b")
		if got, err := terraform.Modules(t.Context(), tree{"a/m.tf": ordinary}.read, "a"); err != nil || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestVariables(t *testing.T) {
	t.Parallel()
	files := tree{
		"a/v.tf":            "variable \"application_name\" {}\nvariable \"b c\" {\n type = string\n}\n",
		"a/v.tf.json":       `{"variable":{"environment_name":{}}}`,
		"a/broken.tf":       "variable \"seen\" {}\nvariable {",
		"a/sub/v.tf":        `variable "not_ours" {}`,
		"a/x_override.tofu": `variable "application_name" {}`,
	}
	got, err := terraform.Variables(t.Context(), files.read, "a/")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"application_name", "b c", "environment_name", "seen"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestInitInputs(t *testing.T) {
	t.Parallel()
	base := func() tree {
		return tree{
			"a/main.tf": "terraform {\n  backend \"azurerm\" {}\n}\nresource \"terraform_data\" \"x\" {\n  input = 1\n}\n" + call("m", "../m"),
			"m/main.tf": "variable \"x\" {}\n",
		}
	}
	inputs := func(t *testing.T, files tree) terraform.InitInputs {
		t.Helper()
		got, err := terraform.ReadInitInputs(t.Context(), files.read, "a")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	before := inputs(t, base())
	if !before.Repeatable || before.Downloads {
		t.Errorf("the plain root: %+v", before)
	}
	for name, edit := range map[string]func(tree){
		"a value":             func(f tree) { f["a/main.tf"] = strings.Replace(f["a/main.tf"], "input = 1", "input = 2", 1) },
		"another resource":    func(f tree) { f["a/b.tf"] = "resource \"terraform_data\" \"y\" {}\n" },
		"a variable":          func(f tree) { f["m/main.tf"] += "variable \"z\" {\n  default = 1\n}\n" },
		"an output, a local":  func(f tree) { f["m/o.tf"] = "output \"o\" {\n  value = 1\n}\nlocals {\n  a = 2\n}\n" },
		"a module's argument": func(f tree) { f["a/main.tf"] = strings.Replace(f["a/main.tf"], "\"../m\"", "\"../m\"\n  x = 1", 1) },
		"a comment":           func(f tree) { f["a/main.tf"] = "# words\n" + f["a/main.tf"] },
		"a var file":          func(f tree) { f["a/env/dev.tfvars"] = "x = 1" },
	} {
		t.Run(name+" keeps init valid", func(t *testing.T) {
			t.Parallel()
			files := base()
			edit(files)
			if got := inputs(t, files); got != before {
				t.Errorf("got %+v, before %+v", got, before)
			}
		})
	}
	for name, c := range map[string]struct {
		edit       func(tree)
		repeatable bool
		downloads  bool
	}{
		"a backend":              {func(f tree) { f["a/main.tf"] = strings.Replace(f["a/main.tf"], "azurerm", "local", 1) }, true, false},
		"a new module call":      {func(f tree) { f["a/n.tf"] = call("n", "../n") }, true, false},
		"another source":         {func(f tree) { f["a/main.tf"] = strings.Replace(f["a/main.tf"], "../m", "../n", 1) }, true, false},
		"a call in a module":     {func(f tree) { f["m/main.tf"] += call("n", "./n") }, true, false},
		"a provider requirement": {func(f tree) { f["m/v.tf"] = "terraform {\n required_providers {\n}\n}" }, true, true},
		"a resource of a new provider": {
			func(f tree) { f["m/main.tf"] += "resource \"random_pet\" \"p\" {}\n" }, true, true,
		},
		"a data source of another provider": {
			func(f tree) { f["a/d.tf"] = "data \"terraform_remote_state\" \"p\" {\n provider = other\n}\n" }, true, true,
		},
		"a provider block": {func(f tree) { f["a/p.tf"] = "provider \"azurerm\" {\n features {}\n}\n" }, true, true},
		"a lock file":      {func(f tree) { f["a/.terraform.lock.hcl"] = "# locked" }, true, false},
		"a test":           {func(f tree) { f["a/tests/x.tftest.hcl"] = "run \"x\" {}" }, true, false},
		"an import":        {func(f tree) { f["a/i.tf"] = "import {\n to = terraform_data.x\n id = 1\n}" }, true, true},
		"a JSON file":      {func(f tree) { f["a/i.tf.json"] = "{}" }, true, true},
		"a pinned module from elsewhere": {
			func(f tree) { f["a/r.tf"] = "module \"r\" {\n source = \"hashicorp/x/y\"\n version = \"1.2.3\"\n}" }, true, true,
		},
		"a module at a commit": {
			func(f tree) { f["a/r.tf"] = call("r", "git::https://x/y?ref="+strings.Repeat("a", 40)) }, true, true,
		},
		"a module at a range of versions": {
			func(f tree) { f["a/r.tf"] = "module \"r\" {\n source = \"hashicorp/x/y\"\n version = \"~> 1.2\"\n}" }, false, true,
		},
		"a module at a branch":                    {func(f tree) { f["a/r.tf"] = call("r", "git::https://x/y?ref=main") }, false, true},
		"a module at a place that is computed":    {func(f tree) { f["a/r.tf"] = "module \"r\" {\n source = var.x\n}" }, false, true},
		"a file that is nested beyond all bounds": {func(f tree) { f["a/r.tf"] = "a = " + strings.Repeat("[", 5000) }, false, true},
	} {
		t.Run(name+" makes init necessary", func(t *testing.T) {
			t.Parallel()
			files := base()
			c.edit(files)
			got := inputs(t, files)
			if got.Fingerprint == before.Fingerprint && got.Repeatable {
				t.Error("it was not noticed")
			}
			if got.Repeatable != c.repeatable || got.Downloads != c.downloads {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestLockedProviders(t *testing.T) {
	t.Parallel()
	got := terraform.LockedProviders([]byte(
		"provider \"registry.terraform.io/hashicorp/azurerm\" {\n  version = \"4.1.0\"\n  hashes = [\"h1:x\"]\n}\n"))
	if diff := cmp.Diff(map[string]string{"registry.terraform.io/hashicorp/azurerm": "4.1.0"}, got); diff != "" {
		t.Error(diff)
	}
	if got := terraform.LockedProviders([]byte("provider {")); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestTreeReaderStaysInTheTree(t *testing.T) {
	t.Parallel()
	outside, inside := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{
		filepath.Join(outside, "secret.tf"):          "variable \"secret\" {}",
		filepath.Join(inside, "root/main.tf"):        "variable \"a\" {}",
		filepath.Join(inside, "shared/providers.tf"): "variable \"b\" {}",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"root/evil.tf": filepath.Join(outside, "secret.tf"), "root/up.tf": "../../../../../../etc/passwd",
		"root/providers.tf": "../shared/providers.tf", "root/gone.tf": "nowhere", "evil": outside,
	} {
		if err := os.Symlink(to, filepath.Join(inside, link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	got, err := terraform.Variables(t.Context(), terraform.TreeReader(root), "root")
	if diff := cmp.Diff([]string{"a", "b"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if got, err := terraform.Variables(t.Context(), terraform.TreeReader(root), "evil"); err == nil {
		t.Errorf("read %v from outside", got)
	}
}

func TestClockCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files tree
		want  []terraform.ClockCall
	}{
		"an argument of a resource": {
			tree{"a/main.tf": "resource \"t\" \"n\" {\n  input = { at = \"${timestamp()}\" }\n}\n"},
			[]terraform.ClockCall{{Function: "timestamp", Dir: "a", Address: "t.n", Argument: "input"}},
		},
		"a block within a resource, and a namespace": {
			tree{"a/main.tf": "resource \"t\" \"n\" {\n  tags {\n    deep {\n      at = formatdate(\"YYYY\", core::plantimestamp())\n    }\n  }\n}\n"},
			[]terraform.ClockCall{{Function: "plantimestamp", Dir: "a", Address: "t.n", Argument: "tags"}},
		},
		"a local value of a module, an output, a data source": {
			tree{
				"a/main.tf": call("m", "../m") + "output \"o\" {\n  value = timestamp()\n}\ndata \"d\" \"n\" {\n  at = [timestamp(), timestamp()]\n}\n",
				"m/x.tf":    "locals {\n  now = plantimestamp()\n  one = 1\n}\n",
			},
			[]terraform.ClockCall{
				{Function: "timestamp", Dir: "a", Address: "output.o", Argument: "value"},
				{Function: "timestamp", Dir: "a", Address: "data.d.n", Argument: "at"},
				{Function: "plantimestamp", Dir: "m", Address: "local.now"},
			},
		},
		"words that are no call": {
			tree{"a/main.tf": "# timestamp()\nresource \"t\" \"timestamp\" {\n  input = \"timestamp() ${var.timestamp}\"\n}\n"}, nil,
		},
		"what cannot be read": {
			tree{"a/main.tf": "a = " + strings.Repeat("[", 5000), "a/b.tf": "resource \"t\" {", "a/c.tf.json": `{"locals":{"a":"${timestamp()}"}}`}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := terraform.ClockCalls(t.Context(), c.files.read, "a")
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
	t.Run("more calls than anybody reads are left out", func(t *testing.T) {
		t.Parallel()
		var locals strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&locals, "locals {\n  a%d = timestamp()\n}\n", i)
		}
		got, err := terraform.ClockCalls(t.Context(), tree{"a/main.tf": locals.String()}.read, "a")
		if err != nil || len(got) != terraform.MaxClockCalls {
			t.Errorf("%d calls, %v", len(got), err)
		}
	})
}
