package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// document is a plan as Terraform writes it, of parts of its JSON.
type document struct {
	changes, drift, data, config []string
}

func (d document) String() string {
	return fmt.Sprintf(`{"format_version":"1.2","planned_values":{"root_module":{}},"resource_drift":[%s],"resource_changes":[%s],`+
		`"prior_state":{"format_version":"1.0","values":{"root_module":{"resources":[%s]}}},`+
		`"configuration":{"root_module":{"resources":[%s]}},"timestamp":"2026-11-21T10:00:00Z"}`,
		strings.Join(d.drift, ","), strings.Join(d.changes, ","), strings.Join(d.data, ","), strings.Join(d.config, ","))
}

// resourceChange is an element of resource_changes; its type is the address's.
func resourceChange(address, actions, before, after, unknown string) string {
	return fmt.Sprintf(`{"address":%q,"mode":"managed","provider_name":"registry.terraform.io/hashicorp/azurerm",`+
		`"change":{"actions":[%s],"before":%s,"after":%s,"after_unknown":%s,"before_sensitive":{},"after_sensitive":{}}}`,
		address, actions, before, after, unknown)
}

func updateOf(address, before, after string) string {
	return resourceChange(address, `"update"`, before, after, `{}`)
}

func dataSource(address, values string) string {
	return fmt.Sprintf(`{"address":%q,"mode":"data","type":"x","values":%s,"sensitive_values":{}}`, address, values)
}

func configured(address string, references ...string) string {
	var quoted []string
	for _, reference := range references {
		quoted = append(quoted, fmt.Sprintf("%q", reference))
	}
	return fmt.Sprintf(`{"address":%q,"expressions":{"v":{"references":[%s]}}}`, address, strings.Join(quoted, ","))
}

func readPlan(t *testing.T, d document, reviewed operation.ChangeSet) plan.Plan {
	t.Helper()
	read, err := plan.Read(strings.NewReader(d.String()), plan.Options{Reviewed: reviewed})
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// told is an explanation in words.
func told(e plan.Explanation) []string {
	var list []string
	note := func(word string, changes []operation.Change) {
		for _, c := range changes {
			line := strings.TrimSpace(fmt.Sprintf("%s %s %s: %s %s", word, c.Action, c.Address, c.Cause.Kind, c.Cause.Detail))
			if len(c.Cause.Pulls) > 0 {
				line += fmt.Sprintf(" %v", c.Cause.Pulls)
			}
			list = append(list, line)
		}
	}
	note("asked", e.Asked)
	note("tolerated", e.Tolerated)
	for _, address := range e.Blocked {
		list = append(list, "blocked "+address)
	}
	if len(list) == 0 {
		note("covered", e.Changes)
	}
	return list
}

// explain is plan.Explain, which must not fail.
func explain(t *testing.T, facts plan.Facts, actual plan.Plan, again *plan.Plan) plan.Explanation {
	t.Helper()
	explained, err := plan.Explain(facts, actual, again)
	if err != nil {
		t.Fatal(err)
	}
	return explained
}

func TestExplain(t *testing.T) {
	t.Parallel()
	const group = "azurerm_resource_group.a"
	type test struct {
		reviewed document
		actual   document
		again    *document
		facts    func(*plan.Facts)
		want     []string
	}
	one := func(changes ...string) document { return document{changes: changes} }
	again := func(d document) *document { return &d }
	loose := func(f *plan.Facts) { f.Binding = operation.BindNoNewRisk }
	tests := map[string]test{
		"what was reviewed is covered": {
			reviewed: one(updateOf(group, `{"v":1}`, `{"v":2}`)), actual: one(updateOf(group, `{"v":1}`, `{"v":2}`)),
			want: []string{"covered update " + group + ": reviewed [41]"},
		},
		"another merge's change of the same object is not part of the entry": {
			reviewed: one(updateOf(group, `{"v":1,"w":1}`, `{"v":2,"w":1}`)), actual: one(updateOf(group, `{"v":1,"w":7}`, `{"v":2,"w":7}`)),
			want: []string{"covered update " + group + ": reviewed [41]"},
		},
		"a reviewed value that is there already is no contradiction": {
			reviewed: one(updateOf(group, `{"v":1,"w":1}`, `{"v":2,"w":2}`)), actual: one(updateOf(group, `{"v":1,"w":2}`, `{"v":2,"w":2}`)),
			want: []string{"covered update " + group + ": reviewed [41]"},
		},
		"a reviewed value that was to go away and is gone": {
			reviewed: one(updateOf(group, `{"v":1,"m":{"a":1,"b":1}}`, `{"v":2,"m":{"b":1}}`)),
			actual:   one(updateOf(group, `{"v":1,"m":{"b":1}}`, `{"v":2,"m":{"b":1}}`)),
			want:     []string{"covered update " + group + ": reviewed [41]"},
		},
		"a reviewed value that will not be there contradicts": {
			reviewed: one(updateOf(group, `{"v":1,"w":1}`, `{"v":2,"w":2}`)), actual: one(updateOf(group, `{"v":1,"w":1}`, `{"v":2,"w":1}`)),
			want: []string{"asked update " + group + ": unexplained"},
		},
		"a reviewed value that was to go away and stays contradicts": {
			reviewed: one(updateOf(group, `{"v":1,"m":{"a":1,"b":1}}`, `{"v":2,"m":{"b":1}}`)),
			actual:   one(updateOf(group, `{"v":1,"m":{"a":1,"b":1}}`, `{"v":2,"m":{"a":1,"b":1}}`)),
			want:     []string{"asked update " + group + ": unexplained"},
		},
		"a reviewed element that is nowhere contradicts": {
			reviewed: one(updateOf(group, `{"v":1,"l":["a"]}`, `{"v":2,"l":["a","b"]}`)), actual: one(updateOf(group, `{"v":1,"l":["a"]}`, `{"v":2,"l":["a"]}`)),
			want: []string{"asked update " + group + ": unexplained"},
		},
		"the rest of a reviewed creation is covered": {
			reviewed: one(resourceChange(group, `"create"`, `null`, `{"v":1,"w":2}`, `{"id":true}`)),
			actual:   one(resourceChange(group, `"update"`, `{"v":1,"w":1,"id":"i"}`, `{"v":1,"w":2,"id":"i"}`, `{}`)),
			want:     []string{"covered update " + group + ": reviewed [41]"},
		},
		"more than the rest of a reviewed creation is not": {
			reviewed: one(resourceChange(group, `"create"`, `null`, `{"v":1,"w":2}`, `{"id":true}`)),
			actual:   one(updateOf(group, `{"v":1,"w":1,"x":1}`, `{"v":1,"w":2,"x":2}`)),
			want:     []string{"asked update " + group + ": unexplained"},
		},
		"an update of which nothing is there is no rest of a creation": {
			reviewed: one(resourceChange(group, `"create"`, `null`, `{"v":1,"w":2}`, `{}`)),
			actual:   one(updateOf(group, `{"v":7,"w":7}`, `{"v":1,"w":2}`)),
			want:     []string{"asked update " + group + ": unexplained"},
		},
		"a reviewed value with the time of its plan need not change": {
			reviewed: one(updateOf(group, `{"v":1,"t":"x"}`, `{"v":2,"t":"at 2026-11-21T10:00:00Z"}`)),
			actual:   one(updateOf(group, `{"v":1,"t":"y"}`, `{"v":2,"t":"y"}`)),
			want:     []string{"covered update " + group + ": reviewed [41]"},
		},
		"a value with the time of the plan needs no second one": {
			actual: one(updateOf(group, `{"t":"x"}`, `{"t":"at 2026-11-21T10:00:00Z"}`)),
			want:   []string{"tolerated update " + group + ": volatile t"},
		},
		"a value that is unknown now contradicts the reviewed one": {
			reviewed: one(updateOf(group, `{"v":1,"w":1}`, `{"v":2,"w":2}`)),
			actual:   one(resourceChange(group, `"update"`, `{"v":1,"w":1}`, `{"v":2}`, `{"w":true}`)),
			want:     []string{"asked update " + group + ": unexplained"},
		},
		"nothing was reviewed": {
			actual: one(updateOf(group, `{"v":1}`, `{"v":2}`)), want: []string{"asked update " + group + ": unexplained"},
		},
		"nothing was reviewed, and there is no risk": {
			actual: one(updateOf(group, `{"v":1}`, `{"v":2}`)), facts: loose, want: []string{"tolerated update " + group + ": unexplained"},
		},
		"nothing was reviewed, and there is a risk": {
			actual: one(resourceChange(group, `"delete"`, `{"v":1}`, `null`, `{}`)), facts: loose,
			want: []string{"asked delete " + group + ": unexplained"},
		},
		"drift of the same attribute": {
			actual: document{changes: []string{updateOf(group, `{"v":1}`, `{"v":2}`)}, drift: []string{updateOf(group, `{"v":2}`, `{"v":1}`)}},
			want:   []string{"asked update " + group + ": drift changed outside of Terraform: v"},
		},
		"drift of another attribute is no cause": {
			actual: document{changes: []string{updateOf(group, `{"v":1}`, `{"v":2}`)}, drift: []string{updateOf(group, `{"w":2}`, `{"w":1}`)}},
			want:   []string{"asked update " + group + ": unexplained"},
		},
		"an object that somebody deleted": {
			actual: document{
				changes: []string{resourceChange(group, `"create"`, `null`, `{"v":2}`, `{}`)},
				drift:   []string{resourceChange(group, `"delete"`, `{"v":2}`, `null`, `{}`)},
			},
			want: []string{"asked create " + group + ": drift it was deleted outside of Terraform"},
		},
		"a reviewed change of one attribute and drift of another": {
			reviewed: one(updateOf(group, `{"v":1,"w":1}`, `{"v":2,"w":1}`)),
			actual:   document{changes: []string{updateOf(group, `{"v":1,"w":9}`, `{"v":2,"w":1}`)}, drift: []string{updateOf(group, `{"w":1}`, `{"w":9}`)}},
			want:     []string{"asked update " + group + ": drift changed outside of Terraform: w"},
		},
		"a value that follows drift elsewhere": {
			actual: document{
				changes: []string{updateOf(group, `{"v":"10.0.0.1"}`, `{"v":"10.0.0.9"}`)},
				drift:   []string{updateOf("azurerm_public_ip.p", `{"ip":"10.0.0.1"}`, `{"ip":"10.0.0.9"}`)},
			},
			want: []string{"asked update " + group + ": drift v follows azurerm_public_ip.p, which was changed outside of Terraform"},
		},
		"a data source that it refers to": {
			reviewed: document{data: []string{dataSource("data.http.ip", `{"b":1}`)}},
			actual: document{
				changes: []string{updateOf(group, `{"v":1}`, `{"v":2}`)}, data: []string{dataSource("data.http.ip", `{"b":2}`)},
				config: []string{configured(group, "data.http.ip.b", "data.http.ip")},
			},
			want: []string{"asked update " + group + ": data data.http.ip"},
		},
		"a data source whose new value is in it": {
			reviewed: document{data: []string{dataSource("data.http.ip", `{"b":"192.0.2.1"}`)}},
			actual: document{
				changes: []string{updateOf(group, `{"v":"ip-192.0.2.1"}`, `{"v":"ip-192.0.2.7"}`)}, data: []string{dataSource("data.http.ip", `{"b":"192.0.2.7"}`)},
				config: []string{configured(group, "local.ip")},
			},
			want: []string{"asked update " + group + ": data data.http.ip"},
		},
		"a data source with the same result is no cause": {
			reviewed: document{data: []string{dataSource("data.http.ip", `{"b":2}`)}},
			actual: document{
				changes: []string{updateOf(group, `{"v":1}`, `{"v":2}`)}, data: []string{dataSource("data.http.ip", `{"b":2}`)},
				config: []string{configured(group, "data.http.ip.b", "data.http.ip")},
			},
			want: []string{"asked update " + group + ": unexplained"},
		},
		"another identity plans": {
			reviewed: document{data: []string{dataSource("data.azurerm_client_config.me", `{"object_id":"11111111-1"}`)}},
			actual: document{
				changes: []string{updateOf(group, `{"v":"11111111-1"}`, `{"v":"22222222-2"}`)},
				data:    []string{dataSource("data.azurerm_client_config.me", `{"object_id":"22222222-2"}`)},
			},
			want: []string{"asked update " + group + ": identity data.azurerm_client_config.me"},
		},
		"another version of the provider": {
			actual: one(updateOf(group, `{"v":1}`, `{"v":2}`)),
			facts: func(f *plan.Facts) {
				f.Reviewed = []operation.Tool{{Name: "registry.terraform.io/hashicorp/azurerm", Version: "4.1.0"}}
				f.Present = []operation.Tool{{Name: "registry.terraform.io/hashicorp/azurerm", Version: "4.2.0"}}
			},
			want: []string{"asked update " + group + ": provider registry.terraform.io/hashicorp/azurerm 4.2.0, reviewed with 4.1.0"},
		},
		"another version of a provider that it is not of": {
			actual: one(updateOf(group, `{"v":1}`, `{"v":2}`)),
			facts: func(f *plan.Facts) {
				f.Reviewed = []operation.Tool{{Name: "registry.terraform.io/hashicorp/azuread", Version: "4.1.0"}}
				f.Present = []operation.Tool{{Name: "registry.terraform.io/hashicorp/azuread", Version: "4.2.0"}}
			},
			want: []string{"asked update " + group + ": unexplained"},
		},
		"a value that is another in each plan": {
			actual: one(updateOf(group, `{"v":"1"}`, `{"v":"10:00"}`)), again: again(one(updateOf(group, `{"v":"1"}`, `{"v":"10:01"}`))),
			want: []string{"tolerated update " + group + ": volatile v"},
		},
		"a reviewed creation with a value that is another in each plan": {
			reviewed: one(resourceChange(group, `"create"`, `null`, `{"v":"09:00","w":1}`, `{}`)),
			actual:   one(resourceChange(group, `"create"`, `null`, `{"v":"10:00","w":1}`, `{}`)),
			again:    again(one(resourceChange(group, `"create"`, `null`, `{"v":"10:01","w":1}`, `{}`))),
			want:     []string{"tolerated create " + group + ": volatile v"},
		},
		"a creation with a volatile value and one that nobody reviewed": {
			reviewed: one(resourceChange(group, `"create"`, `null`, `{"v":"09:00","w":1}`, `{}`)),
			actual:   one(resourceChange(group, `"create"`, `null`, `{"v":"10:00","w":2}`, `{}`)),
			again:    again(one(resourceChange(group, `"create"`, `null`, `{"v":"10:01","w":2}`, `{}`))),
			want:     []string{"asked create " + group + ": unexplained"},
		},
		"a creation that nobody reviewed is not tolerated for a volatile value": {
			actual: one(resourceChange(group, `"create"`, `null`, `{"v":"10:00"}`, `{}`)),
			again:  again(one(resourceChange(group, `"create"`, `null`, `{"v":"10:01"}`, `{}`))),
			want:   []string{"asked create " + group + ": unexplained"},
		},
		"a volatile value that opens the public network": {
			actual: one(updateOf(group, `{"v":"1","public_network_access_enabled":false}`, `{"v":"10:00","public_network_access_enabled":true}`)),
			again:  again(one(updateOf(group, `{"v":"1","public_network_access_enabled":false}`, `{"v":"10:01","public_network_access_enabled":true}`))),
			want:   []string{"asked update " + group + ": unexplained"},
		},
		"what the provider computes of a volatile value goes with it": {
			actual: document{
				changes: []string{resourceChange(group, `"update"`, `{"v":"1","output":"1"}`, `{"v":"10:00"}`, `{"output":true}`)},
				config:  []string{configured(group, "local.now")},
			},
			again: again(one(resourceChange(group, `"update"`, `{"v":"1","output":"1"}`, `{"v":"10:01"}`, `{"output":true}`))),
			want:  []string{"tolerated update " + group + ": volatile v"},
		},
		"an argument that is unknown does not go with a volatile value": {
			actual: document{
				changes: []string{resourceChange(group, `"update"`, `{"w":"1","v":"1"}`, `{"w":"10:00"}`, `{"v":true}`)},
				config:  []string{configured(group, "local.now")},
			},
			again: again(one(resourceChange(group, `"update"`, `{"w":"1","v":"1"}`, `{"w":"10:01"}`, `{"v":true}`))),
			want:  []string{"asked update " + group + ": unexplained"},
		},
		"a reviewed replacement with a volatile value": {
			reviewed: one(resourceChange(group, `"delete","create"`, `{"v":"1"}`, `{"v":"09:00"}`, `{}`)),
			actual:   one(resourceChange(group, `"delete","create"`, `{"v":"1"}`, `{"v":"10:00"}`, `{}`)),
			again:    again(one(resourceChange(group, `"delete","create"`, `{"v":"1"}`, `{"v":"10:01"}`, `{}`))),
			want:     []string{"tolerated replace " + group + ": volatile v"},
		},
		"a blocked risk, although it was reviewed": {
			reviewed: one(resourceChange(group, `"delete","create"`, `{"v":1}`, `{"v":2}`, `{}`)),
			actual:   one(resourceChange(group, `"delete","create"`, `{"v":1}`, `{"v":2}`, `{}`)),
			facts:    func(f *plan.Facts) { f.Block = []operation.RiskRule{operation.RiskReplaceStateful} },
			want:     []string{"blocked " + group},
		},
		"a blocked risk that somebody approved": {
			reviewed: one(resourceChange(group, `"delete","create"`, `{"v":1}`, `{"v":2}`, `{}`)),
			actual:   one(resourceChange(group, `"delete","create"`, `{"v":1}`, `{"v":2}`, `{}`)),
			facts: func(f *plan.Facts) {
				f.Block = []operation.RiskRule{operation.RiskReplaceStateful}
				f.Approved = []operation.Held{
					{Address: group, Rule: operation.RiskReplaceStateful, Change: plan.ApprovalDigest(f.Expected.Changes)},
				}
			},
			want: []string{"covered replace " + group + ": reviewed [41]"},
		},
		"what was left out of the review is asked about, whatever the binding": {
			actual: one(updateOf(group, `{"v":1}`, `{"v":2}`)),
			facts:  func(f *plan.Facts) { f.Binding, f.Expected.Omitted = operation.BindNoNewRisk, 1 },
			want:   []string{"asked update " + group + ": unexplained"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			review := readPlan(t, test.reviewed, operation.ChangeSet{})
			facts := plan.Facts{Expected: review.Set, Data: review.Data}
			for i := range facts.Expected.Changes {
				facts.Expected.Changes[i].Cause = &operation.Cause{Kind: operation.CauseReviewed, Pulls: []int{41}}
			}
			if test.facts != nil {
				test.facts(&facts)
			}
			var second *plan.Plan
			if test.again != nil {
				read := readPlan(t, *test.again, facts.Expected)
				second = &read
			}
			explained := explain(t, facts, readPlan(t, test.actual, facts.Expected), second)
			if diff := cmp.Diff(test.want, told(explained)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, change := range explained.Changes {
				if change.Cause.Kind == operation.CauseReviewed && !plan.Shown(facts.Expected, change) {
					t.Errorf("%s is covered and was not shown", change.Address)
				}
			}
		})
	}
}

func TestAYesFitsTheNextPlanAlthoughAValueIsAnotherInEach(t *testing.T) {
	t.Parallel()
	target := operation.Target{Root: "a", Environment: "prod"}
	ask := func(before, first, second string) string {
		t.Helper()
		made := func(value string) plan.Plan {
			return readPlan(t, document{changes: []string{
				resourceChange("azurerm_resource_group.a", `"create"`, `null`, `{"v":"`+value+`","w":`+before+`}`, `{}`),
			}}, operation.ChangeSet{})
		}
		again := made(second)
		explained := explain(t, plan.Facts{}, made(first), &again)
		if len(explained.Asked) != 1 || !explained.Asked[0].Attributes[0].Volatile {
			t.Fatalf("got %+v", explained)
		}
		return plan.Question(map[operation.Target][]operation.Change{target: explained.Asked}, "", "c")
	}
	if ask("1", "10:00", "10:01") != ask("1", "11:00", "11:01") {
		t.Error("the next plan asks something else")
	}
	if ask("1", "10:00", "10:01") == ask("2", "10:00", "10:01") {
		t.Error("another value that is not volatile is the same question")
	}
	gone := operation.Change{Address: "a.a", Action: operation.Update, Attributes: []operation.Attribute{value("v", `1`, ``)}}
	volatile := operation.Change{Address: "a.a", Action: operation.Update, Attributes: []operation.Attribute{value("v", `1`, `2`)}}
	volatile.Attributes[0].Volatile = true
	question := func(change operation.Change) string {
		return plan.Question(map[operation.Target][]operation.Change{target: {change}}, "", "")
	}
	if question(gone) == question(volatile) {
		t.Error("a value that goes away is the same question as one that is volatile")
	}
}

func TestDataSourcesAreFoundThroughModules(t *testing.T) {
	t.Parallel()
	const text = `{"format_version":"1.2",
	"resource_changes":[{"address":"module.stamp[\"west.europe\"].azurerm_x.a[\"k.]\"]","provider_name":"p","change":{"actions":["update"],"before":{"v":1},"after":{"v":2}}}],
	"prior_state":{"values":{"root_module":{"child_modules":[{"address":"module.net","resources":[
		{"address":"module.net.data.http.ip[0]","mode":"data","values":{"b":%d},"sensitive_values":{}}]}]}}},
	"configuration":{"root_module":{"module_calls":{
		"net":{"module":{"outputs":{"ip":{"expression":{"references":["data.http.ip.b","data.http.ip"]}}}}},
		"stamp":{"expressions":{"ip":{"references":["module.net.ip","module.net"]}},"for_each_expression":{},
			"module":{"resources":[{"address":"azurerm_x.a","expressions":{"v":[{"n":{"references":["var.ip"]}}]}}],"variables":{"ip":{}}}}}}}}`
	read := func(result int) plan.Plan {
		made, err := plan.Read(strings.NewReader(fmt.Sprintf(text, result)), plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	explained := explain(t, plan.Facts{Data: read(1).Data}, read(2), nil)
	want := []string{`asked update module.stamp["west.europe"].azurerm_x.a["k.]"]: data module.net.data.http.ip[0]`}
	if diff := cmp.Diff(want, told(explained)); diff != "" {
		t.Error(diff)
	}
}

func TestHashesOfDataSourcesTellNothingSensitive(t *testing.T) {
	t.Parallel()
	read := func(secret, open string) string {
		made, err := plan.Read(strings.NewReader(fmt.Sprintf(`{"format_version":"1.2","resource_changes":[{"address":"a.b","change":{"actions":["no-op"],`+
			`"before":{"p":%[1]q},"after":{"p":%[1]q},"before_sensitive":{"p":true},"after_sensitive":{"p":true}}}],`+
			`"prior_state":{"values":{"root_module":{"resources":[{"address":"data.a.b","mode":"data","values":{"s":%[1]q,"copy":"x%[1]sx","o":%[2]q},`+
			`"sensitive_values":{"s":true}}]}}}}`, secret, open)), plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return made.Data["data.a.b"]
	}
	if a, b := read("hunter2-one", "open"), read("hunter2-two", "open"); a != b || a == "" {
		t.Errorf("another secret gives another hash: %s, %s", a, b)
	}
	if read("hunter2-one", "open") == read("hunter2-one", "other") {
		t.Error("another value gives the same hash")
	}
}
