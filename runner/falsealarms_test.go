package runner_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/runner"
)

// part is one thing of a generated configuration. a and b are values that the first and the second pull request change;
// n makes its names its own.
type part struct {
	name     string
	provider string // that it needs beside the built-in one
	text     func(n int, a, b, states string) string
}

// parts are what configurations are generated from: each thing that makes plans of the same code differ, or that could.
func parts() []part {
	resource := func(body string) func(n int, a, b, states string) string {
		return func(n int, a, b, states string) string {
			return strings.NewReplacer("NAME", fmt.Sprintf("r%d", n), "AAA", a, "BBB", b, "STATES", states).Replace(body)
		}
	}
	return []part{
		{name: "an object", text: resource(`resource "terraform_data" "NAME" {
  input = { a = "AAA", b = "BBB", list = ["x", "AAA"], tags = { env = "dev", owner = "BBB" } }
}`)},
		{name: "instances by key", text: resource(`resource "terraform_data" "NAME" {
  for_each = toset(["westeurope", "south.east \"asia\"", "AAA"])
  input    = { region = each.key, size = "BBB" }
}`)},
		{name: "instances by number", text: resource(`resource "terraform_data" "NAME" {
  count = 2 + length("AAA") % 2
  input = "BBB-${count.index}"
}`)},
		{name: "a chain of unknowns", text: resource(`resource "terraform_data" "NAME" {
  input = { a = "AAA" }
}
resource "terraform_data" "NAME_next" {
  input = { from = terraform_data.NAME.output, b = "BBB" }
}
resource "terraform_data" "NAME_last" {
  input = [terraform_data.NAME_next.output, terraform_data.NAME_next.id]
}`)},
		{name: "replaced", text: resource(`resource "terraform_data" "NAME" {
  triggers_replace = { a = "AAA" }
}
resource "terraform_data" "NAME_user" {
  input = { id = terraform_data.NAME.id, b = "BBB" }
}`)},
		{name: "replaced, created first", text: resource(`resource "terraform_data" "NAME" {
  input            = "same"
  triggers_replace = "AAA"
  lifecycle {
    create_before_destroy = true
  }
}
output "NAME" {
  value = "${terraform_data.NAME.id} BBB"
}`)},
		{name: "times in outputs", text: resource(`output "NAME" {
  value = { at = timestamp(), planned = plantimestamp(), a = "AAA" }
}
resource "terraform_data" "NAME" {
  input = "BBB"
}`)},
		{name: "the time of the plan", text: resource(`resource "terraform_data" "NAME" {
  input = { at = plantimestamp(), a = "AAA" }
}`)},
		{name: "the time of the plan, through a local value", text: resource(`locals {
  NAME = formatdate("YYYY-MM-DD'T'hh:mm:ss", plantimestamp())
}
resource "terraform_data" "NAME" {
  input = { tags = { deployed = local.NAME, b = "BBB" } }
}`)},
		{name: "the time of the apply", text: resource(`resource "terraform_data" "NAME" {
  input = { at = timestamp(), a = "AAA" }
}`)},
		{name: "a random id", text: resource(`resource "terraform_data" "NAME" {
  input = { id = uuid(), b = "BBB" }
}`)},
		{name: "paths", text: resource(`resource "terraform_data" "NAME" {
  input = { root = abspath(path.root), cwd = path.cwd, a = "AAA", file = "${path.cwd}/BBB" }
}`)},
		{name: "secrets", text: resource(`variable "NAME" {
  type      = string
  sensitive = true
  default   = "correct horse AAA"
}
resource "terraform_data" "NAME" {
  input = { password = var.NAME, b = "BBB" }
}
output "NAME" {
  value     = var.NAME
  sensitive = true
}`)},
		{name: "long texts", text: resource(`resource "terraform_data" "NAME" {
  input = {
    json = jsonencode({ a = "AAA", list = range(50) })
    yaml = yamlencode({ b = "BBB", text = "line\nline" })
    long = join("", [for i in range(1000) : "${i} AAA, which makes it long"])
  }
}`)},
		{name: "a data source", text: resource(`data "terraform_remote_state" "NAME" {
  backend = "local"
  config  = { path = "STATES/other.tfstate" }
}
resource "terraform_data" "NAME" {
  input = { v = data.terraform_remote_state.NAME.outputs.v, a = "AAA" }
}`)},
		{name: "a data source that is read during the apply", text: resource(`resource "terraform_data" "NAME_first" {
  input = "AAA"
}
data "terraform_remote_state" "NAME" {
  backend    = "local"
  config     = { path = "STATES/other.tfstate" }
  depends_on = [terraform_data.NAME_first]
}
resource "terraform_data" "NAME" {
  input = { v = data.terraform_remote_state.NAME.outputs.v, b = "BBB" }
}`)},
		{name: "a check that fails", text: resource(`resource "terraform_data" "NAME" {
  input = "AAA"
}
check "NAME" {
  assert {
    condition     = terraform_data.NAME.output == "BBB"
    error_message = "Not BBB."
  }
}`)},
		{name: "stamps of a module", text: resource(`module "NAME" {
  source   = "../stamp"
  for_each = toset(["westeurope", "southeastasia"])
  region   = each.key
  size     = "AAA"
  tier     = "BBB"
}
output "NAME" {
  value = { for region, stamp in module.NAME : region => stamp.id }
}`)},
		{name: "variables of the environment", text: resource(`variable "environment_name" {}
resource "terraform_data" "NAME" {
  input = { environment = var.environment_name, a = "AAA", b = "BBB" }
}`)},
		{name: "random", provider: "random", text: resource(`resource "random_pet" "NAME" {
  keepers = { a = "AAA" }
}
resource "random_password" "NAME" {
  length = 20
}
resource "random_integer" "NAME" {
  min = 1
  max = 99999
}
resource "terraform_data" "NAME" {
  input = { pet = random_pet.NAME.id, number = random_integer.NAME.result, password = random_password.NAME.result, b = "BBB" }
}`)},
		{name: "random, shuffled", provider: "random", text: resource(`resource "random_shuffle" "NAME" {
  input   = ["a", "b", "c", "AAA"]
  keepers = { a = "AAA" }
}
resource "random_uuid" "NAME" {}
resource "random_bytes" "NAME" {
  length = 16
}
output "NAME" {
  value = [random_shuffle.NAME.result, random_uuid.NAME.result, "BBB"]
}`)},
		{name: "time", provider: "time", text: resource(`resource "time_static" "NAME" {
  triggers = { a = "AAA" }
}
resource "time_rotating" "NAME" {
  rotation_days = 30
}
resource "time_offset" "NAME" {
  offset_days = 7 + length("BBB")
}
resource "terraform_data" "NAME" {
  input = { static = time_static.NAME.rfc3339, rotate = time_rotating.NAME.id, offset = time_offset.NAME.rfc3339 }
}`)},
		{name: "files", provider: "local", text: resource(`resource "local_file" "NAME" {
  filename = "STATES/NAME.txt"
  content  = "AAA"
}
resource "local_sensitive_file" "NAME" {
  filename = "STATES/NAME.secret"
  content  = "correct horse BBB"
}
data "local_file" "NAME" {
  filename   = "STATES/other.tfstate"
}
resource "terraform_data" "NAME" {
  input = { hash = local_file.NAME.content_sha256, other = data.local_file.NAME.content_md5 }
}`)},
	}
}

const stampModule = `variable "region" {}
variable "size" {}
variable "tier" {}
resource "terraform_data" "vault" {
  input = { name = "kv-${var.region}", size = var.size }
}
resource "terraform_data" "cache" {
  input = { name = "redis-${var.region}", vault = terraform_data.vault.id, tier = var.tier }
}
output "id" {
  value = terraform_data.cache.id
}
`

// generated is one configuration at any point of its history.
type generated struct {
	parts    []part
	touchedA []bool
	touchedB []bool
	appears  part // the first pull request adds it, the second knows nothing of it
	leaves   part // the second removes it
	history  int  // how the two come to be applied
}

// The histories of two pull requests.
const (
	together       = iota // both merged, one apply
	oneAfterOther         // the first applied before the second is merged; both were planned before
	plannedOnFirst        // the second planned with the first merged but not applied; then two applies
	histories
)

func generate(seed uint64, mirror bool) generated {
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test that can be repeated
	all := parts()
	pick := func() part {
		for {
			if p := all[r.IntN(len(all))]; p.provider == "" || mirror {
				return p
			}
		}
	}
	g := generated{history: int(seed % histories), appears: pick(), leaves: pick()}
	variables := false
	for range 4 + r.IntN(4) {
		p := pick()
		if p.name == "variables of the environment" {
			if variables {
				continue
			}
			variables = true
		}
		g.parts = append(g.parts, p)
		touch := r.IntN(4)
		g.touchedA, g.touchedB = append(g.touchedA, touch == 0 || touch == 2), append(g.touchedB, touch == 1 || touch == 2)
	}
	if slices.Contains([]string{"the time of the apply", "a random id", "times in outputs"}, g.appears.name) {
		g.appears = all[2] // what is another after each apply is not reviewed by who did not know of it
	}
	if g.appears.name == "variables of the environment" || g.leaves.name == "variables of the environment" {
		g.appears, g.leaves = all[0], all[1]
	}
	return g
}

// files are the files of the configuration with or without each of the pull requests.
func (g generated) files(a, b bool, states string) map[string]string {
	pick := func(touched bool) string {
		if touched {
			return "new"
		}
		return "old"
	}
	texts := []string{"terraform {\n  backend \"local\" {}\n}"}
	for i, p := range g.parts {
		texts = append(texts, p.text(i, pick(a && g.touchedA[i]), pick(b && g.touchedB[i]), states))
	}
	if a {
		texts = append(texts, g.appears.text(100, "x", "y", states))
	}
	if !b {
		texts = append(texts, g.leaves.text(200, "x", "y", states))
	}
	return map[string]string{"a/main.tf": strings.Join(texts, "\n") + "\n", "stamp/main.tf": stampModule}
}

// alarms are what one history asked about, of changes that were all reviewed.
type alarms struct {
	changes, tolerated int
	asked              []operation.Change
}

// player plays one history. The first error ends it.
type player struct {
	*world
	generated  generated
	mirror     string
	operations int
	found      alarms
	err        error
}

// play plays one history.
func (g generated) play(tb testing.TB, mirror string) (alarms, error) {
	tb.Helper()
	p := &player{world: newWorld(tb), generated: g, mirror: mirror}
	other := `{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"x","outputs":{"v":{"value":"other","type":"string"}},"resources":[]}`
	if err := os.WriteFile(filepath.Join(p.states, "other.tfstate"), []byte(other), 0o600); err != nil {
		return alarms{}, err
	}
	p.apply(false, false, p.review(1, false, false))
	switch g.history {
	case together:
		p.apply(true, true, p.review(2, true, false), p.review(3, false, true))
	case oneAfterOther:
		first, second := p.review(2, true, false), p.review(3, false, true)
		p.apply(true, false, first)
		p.apply(true, true, second)
	case plannedOnFirst:
		first := p.review(2, true, false)
		second := p.review(3, true, true, 2)
		p.apply(true, false, first)
		p.apply(true, true, second)
	}
	return p.found, p.err
}

// run does one operation on the configuration with or without each of the pull requests, in a directory of its own, by one
// identity for plans and another for applies.
func (p *player) run(kind operation.Kind, a, b bool, reviews ...plan.Review) operation.TargetResult {
	if p.err != nil {
		return operation.TargetResult{}
	}
	files := p.generated.files(a, b, p.states)
	task := p.task(kind, p.tree(files), "a")
	p.operations++
	task.WorkDir = filepath.Join(p.states, "work", fmt.Sprintf("%s-%d", kind, p.operations))
	task.Commit = fmt.Sprintf("%040x", p.operations)
	task.Env = map[string]string{"ARM_CLIENT_ID": string(kind) + "-identity"}
	if p.mirror != "" {
		task.Env["TF_CLI_CONFIG_FILE"] = mirrorConfig(p.t, p.mirror)
	}
	if kind == operation.Apply {
		expected := plan.Expected(reviews)
		task.Targets[0].Expected = &expected
	}
	result := runner.Run(p.t.Context(), task, nopWriter{})
	if result.Error != "" || result.Targets[0].Error != "" {
		p.err = fmt.Errorf("%s of %v, %v: %s %s\n%s", kind, a, b, result.Error, result.Targets[0].Error, files["a/main.tf"])
		return operation.TargetResult{}
	}
	return result.Targets[0]
}

func (p *player) apply(a, b bool, reviews ...plan.Review) {
	target := p.run(operation.Apply, a, b, reviews...)
	p.found.changes += len(target.ChangeSet.Changes)
	p.found.tolerated += len(target.Tolerated)
	p.found.asked = append(p.found.asked, target.Unexpected...)
}

func (p *player) review(pull int, a, b bool, knew ...int) plan.Review {
	return plan.Review{Pull: pull, Set: p.run(operation.Plan, a, b).ChangeSet, Knew: knew}
}

// mirrorConfig is a file that makes Terraform take providers from a directory.
func mirrorConfig(tb testing.TB, mirror string) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "config.tfrc")
	text := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

// report counts, and names what was asked about.
func report(tb testing.TB, all []alarms) (changes, asked int) {
	tb.Helper()
	tolerated := 0
	for seed, found := range all {
		changes += found.changes
		tolerated += found.tolerated
		asked += len(found.asked)
		for _, change := range found.asked {
			var text strings.Builder
			fmt.Fprintf(&text, "configuration %d: %s %s: %s %s", seed, change.Action, change.Address, change.Cause.Kind, change.Cause.Detail)
			for _, attribute := range change.Attributes {
				fmt.Fprintf(&text, "\n    %s: %.80s → %.80s unknown %v sensitive %v volatile %v",
					attribute.Path, attribute.Before, attribute.After, attribute.Unknown, attribute.Sensitive, attribute.Volatile)
			}
			tb.Log(text.String())
		}
	}
	tb.Logf("%d configurations, %d changes, %d tolerated, %d asked about", len(all), changes, tolerated, asked)
	return changes, asked
}

// TestReviewedChangesAreNotAskedAbout is the small, fixed form of BenchmarkFalseAlarms.
func TestReviewedChangesAreNotAskedAbout(t *testing.T) {
	t.Parallel()
	for seed := range uint64(histories) {
		t.Run(fmt.Sprintf("history %d", seed), func(t *testing.T) {
			t.Parallel()
			found, err := generate(seed, false).play(t, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, asked := report(t, []alarms{found}); asked > 0 {
				t.Error("what was reviewed was asked about")
			}
		})
	}
}

// BenchmarkFalseAlarms plays the histories of generated configurations, others in each round, and says how many of the
// reviewed changes were asked about: `make bench` makes three rounds. With SWITCHYARD_TEST_PROVIDERS, a mirror that
// testdata/providers.sh makes, it uses the providers random, time and local too.
func BenchmarkFalseAlarms(b *testing.B) {
	const round = 22
	mirror := os.Getenv("SWITCHYARD_TEST_PROVIDERS")
	if mirror == "" {
		b.Log("only the built-in provider: SWITCHYARD_TEST_PROVIDERS is not set")
	}
	all := make([]alarms, round*b.N)
	for i := range b.N {
		var group errgroup.Group
		group.SetLimit(runtime.GOMAXPROCS(0))
		for seed := i * round; seed < (i+1)*round; seed++ {
			group.Go(func() (err error) {
				all[seed], err = generate(uint64(seed), mirror != "").play(b, mirror) //nolint:gosec // not negative
				return err
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	changes, asked := report(b, all)
	b.ReportMetric(float64(len(all)), "configurations")
	b.ReportMetric(float64(changes), "changes")
	b.ReportMetric(float64(asked), "asked")
	b.ReportMetric(100*float64(asked)/float64(changes), "%asked")
	if b.N > 2 && asked*100 > changes { // of fewer, a single one is more
		b.Errorf("%d of %d reviewed changes were asked about", asked, changes)
	}
}
