package render_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// quote is a string as the value of an attribute.
func quote(value string) string {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(encoded.String(), "\n")
}

func lines(n int, change func(i int) string) string {
	var all []string
	for i := range n {
		all = append(all, change(i))
	}
	return strings.Join(all, "\n") + "\n"
}

// planOf is the comment of a plan with one update.
func planOf(attributes ...operation.Attribute) string {
	return render.PullComment(pull(planOperation(operation.Succeeded,
		result(target("src/terraform", "dev", operation.Planned, changeSet(updated("terraform_data.x", attributes...)))))))
}

const (
	policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"},{"Effect":"Deny","Action":"s3:Put*","Resource":"*"}]}`
	opened = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"},{"Effect":"Allow","Action":["s3:Get*","s3:Put*","s3:List*"],"Resource":"*"},{"Effect":"Deny","Action":"s3:Put*","Resource":"*"}]}`
	values = "\"replicas\": 2\n\"image\":\n  \"repository\": \"acme/web\"\n  \"tag\": \"1.4\"\n\"env\":\n- \"name\": \"A\"\n  \"value\": \"1\"\n"
)

func valueTexts() map[string]string {
	script := func(i int) string { return fmt.Sprintf("echo line %d", i) }
	edited := func(i int) string {
		if i == 20 || i == 60 {
			return fmt.Sprintf("echo changed %d", i)
		}
		return script(i)
	}
	made := operation.Change{Address: "terraform_data.new", Action: operation.Create, Attributes: []operation.Attribute{
		attribute("policy", "", quote(policy)), attribute("script", "", quote(lines(100, script))), attribute("values", "", quote(values)),
	}}
	update := updated("terraform_data.x",
		attribute("certificate", quote(strings.Repeat("a", 400)+"old"+strings.Repeat("b", 400)), quote(strings.Repeat("a", 400)+"new"+strings.Repeat("b", 400))),
		attribute("json_order", quote(`{"a":1,"b":2}`), quote(`{"b": 2, "a": 1}`)),
		attribute("json_twice", quote(`{"a":1}`), quote(`{"a":2,"a":1}`)),
		attribute("policy", quote(policy), quote(opened)),
		attribute("rules[0].port", "80", "443"), attribute("rules[0].name", `"web"`, `"tls"`),
		attribute("script", quote(lines(100, script)), quote(lines(100, edited))),
		attribute(`tags["a"]`, "", `"1"`), attribute(`tags["b"]`, `"2"`, ""),
		attribute("values", quote(values), quote(strings.Replace(values, `"1.4"`, `"1.5"`, 1)+"\"extra\": null\n")),
		attribute("values_commented", quote("#cloud-config\na: 1\n"), quote("#cloud-config\na: 2\n")),
		attribute("zones[0]", `"b"`, `"a"`), attribute("zones[1]", `"c"`, `"b"`), attribute("zones[2]", "", `"c"`),
		operation.Attribute{Path: "stamp", Before: raw(`"1"`), After: raw(`"2"`), Volatile: true},
	)
	r := result(target("src/terraform", "dev", operation.Planned, changeSet(made, update)))
	secret := updated("terraform_data.x",
		attribute("input", quote("user=sre&token=ghp_0123456789abcdef0123456789abcdef0123"), quote("user=sre&token=ghp_ffffffffffffffffffffffffffffffffffff")),
		attribute("password", "", quote("correct horse")), attribute("pin", "", "12345678"),
	)
	hidden := target("src/terraform", "dev", operation.TargetFailed, changeSet(secret))
	hidden.Error = "Error: 401 for token=ghp_0123456789abcdef0123456789abcdef0123"
	masks := []string{`ghp_[0-9a-z]{36}`, `(?i)password(:| =) "[^"]*"`, `\b[0-9]{8}\b`}
	return map[string]string{
		"plan values": render.PullComment(pull(planOperation(operation.Succeeded, r))),
		"plan masked": render.PullComment(with(pull(planOperation(operation.Failed, result(hidden))), func(v *render.PullView) { v.Mask = masks })),
		"plan masked by a wrong pattern": render.PullComment(with(pull(planOperation(operation.Failed, result(hidden))), func(v *render.PullView) {
			v.Mask = append([]string{"("}, masks...)
		})),
	}
}

func TestWhatDiffersInLongValuesIsShown(t *testing.T) {
	t.Parallel()
	long := func(middle string) string { return strings.Repeat("a", 5000) + middle + strings.Repeat("z", 5000) }
	tests := map[string]struct {
		before, after string
		want          []string
	}{
		"in the middle of a line":       {long("OLD"), long("NEW"), []string{"OLD", "NEW", "(10,005 characters)"}},
		"in one character":              {long("x"), long("y"), []string{"axz", "ayz"}},
		"by what is added at the end":   {long(""), long("") + "END", []string{"zEND"}},
		"by a long insertion":           {long(""), long(strings.Repeat("i", 3000)), []string{"aaiii", "iizz"}},
		"in the middle of a long line":  {"x\n" + long("OLD"), "x\n" + long("NEW"), []string{"OLD", "NEW"}},
		"in a value of embedded JSON":   {`{"k":"` + long("OLD") + `"}`, `{"k":"` + long("NEW") + `"}`, []string{"OLD", "NEW"}},
		"by one of two equal JSON keys": {`{"a":1}`, `{"a":2,"a":1}`, []string{`\"a\":2`}},
		"by the order of JSON":          {`{"a":1,"b":2}`, `{"b":2,"a":1}`, []string{`{"a":1,"b":2} → {"b":2,"a":1}  # the same JSON, written differently`}},
		"by a comment of YAML":          {"a: 1 # x\nb: 2\n", "a: 1 # y\nb: 2\n", []string{"-         a: 1 # x", "+         a: 1 # y"}},
		"by an alias of YAML":           {"a: &x 1\nb: 1\n", "a: &x 1\nb: *x\n", []string{"+         b: *x"}},
		"by a large number":             {`[12345678901234567890]`, `[12345678901234567891]`, []string{"[0]: 12345678901234567890 → 12345678901234567891"}},
		"by the type of a value":        {`{"a":1}`, `{"a":"1"}`, []string{`a: 1 → "1"`}},
		"by the type of a YAML value":   {"a: \"yes\"\nb: 1\n", "a: true\nb: 1\n", []string{`a: "yes" → true`}},
		"by an element that comes":      {`["b","c"]`, `["a","b","c"]`, []string{`+         [0]: "a"`, "\n```"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comment := planOf(attribute("value", quote(test.before), quote(test.after)))
			for _, want := range test.want {
				if !strings.Contains(comment, want) {
					t.Errorf("it lacks %q:\n%s", want, comment)
				}
			}
		})
	}
}

const token = "ghp_0123456789abcdef0123456789abcdef0123"

func TestNoCutShowsHalfOfWhatIsMasked(t *testing.T) {
	t.Parallel()
	// The secret is at each place where a text could be cut.
	step := 29
	if sampled {
		step = 131
	}
	for at := 0; at < 1300; at += step {
		text := strings.Repeat("a", at) + " " + token + " " + strings.Repeat("b", 1300-at)
		change := updated("terraform_data.x[\""+text+"\"]",
			attribute("value", quote("x"), quote(text)), attribute("lines", quote("x\n"), quote("x\n"+text+"\n")), attribute("new", "", quote(text)),
			attribute("json", quote("{}"), quote(`{"a":["`+text+`"]}`)), attribute(`map["`+text+`"]`, "", "1"),
		)
		change.Cause = &operation.Cause{Kind: operation.CauseData, Detail: text}
		one := target("src/terraform", "dev", operation.Different, changeSet(change))
		one.Unexpected, one.Tolerated, one.Blocked = []operation.Change{change}, []operation.Change{change}, []string{change.Address}
		one.Error, one.Notes = text, []string{text}
		one.Risks = []operation.Risk{{Address: change.Address, Rule: operation.RiskAccess, Reason: text}}
		op := asking(result(one))
		op.Message = text
		v := apply(op, func(v *render.ApplyView) { v.Mask = []string{`ghp_[0-9a-z]{36}`} })
		check := render.ApplyCheck(v)
		comment := render.PullComment(with(pull(&op, v), func(v *render.PullView) { v.Mask = []string{`ghp_[0-9a-z]{36}`} }))
		shown := strings.Join([]string{render.Notice(v), check.Title, check.Summary, check.Text, comment, render.StepSummary(v)}, "\n")
		for _, part := range []string{token[:8], token[len(token)-8:]} {
			if strings.Contains(shown, part) {
				t.Fatalf("with the secret after %d characters, a part of it is shown", at)
			}
		}
	}
}

func TestMasks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		masks     []string
		path      string
		value     string
		want, not string
	}{
		"a pattern hides what it matches":                   {[]string{`s[0-9]+`}, "v", quote("a s123 b"), `"a *** b"`, "s123"},
		"patterns that overlap hide all of what they match": {[]string{`abc`, `cde`}, "v", quote("xabcdex"), `"x***x"`, "exd"},
		"a pattern with a name hides the value":             {[]string{`password: .*`}, "password", quote("geheim"), `password: "***"`, "geheim"},
		"a pattern with a name as Terraform writes it":      {[]string{`password = .*`}, "password", quote("geheim"), `password: "***"`, "geheim"},
		"a number is hidden as a whole":                     {[]string{`42`}, "v", "14243", `v: "***"`, "14243"},
		"a string within a value hides the value":           {[]string{`^geheim$`}, "v", `{"a":["geheim"]}`, `v: "***"`, "geheim"},
		"what JSON escapes is matched as it is":             {[]string{`a"b<c`}, "v", quote(`a"b<c`), `v: "***"`, `\"b`},
		"an empty match hides nothing":                      {[]string{`q*`}, "v", quote("abc"), `v: "abc"`, "masked"},
		"a pattern that is wrong hides every value":         {[]string{`(`}, "v", quote("abc"), `v: "***"`, `"abc"`},
		"a pattern that is too long hides every value":      {[]string{strings.Repeat("a", 1001)}, "v", quote("abc"), `v: "***"`, `"abc"`},
		"too many patterns hide every value":                {strings.Split(strings.Repeat("q ", 51), " "), "v", quote("abc"), `v: "***"`, `"abc"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := result(target("src/terraform", "dev", operation.Planned, changeSet(updated("terraform_data.x", attribute(test.path, "", test.value)))))
			comment := render.PullComment(with(pull(planOperation(operation.Succeeded, r)), func(v *render.PullView) { v.Mask = test.masks }))
			if !strings.Contains(comment, test.want) || strings.Contains(comment, test.not) {
				t.Errorf("want %q and not %q:\n%s", test.want, test.not, comment)
			}
			if got := string(r.Targets[0].ChangeSet.Changes[0].Attributes[0].After); got != test.value {
				t.Errorf("it changed the result itself to %s", got)
			}
		})
	}
}
