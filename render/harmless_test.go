package render_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/render"
)

// hostile is what the author of a pull request might put into names and values.
var hostile = []string{
	"plain",
	"@everyone please look", "@acme/admins", "a@b.example", "x @ana",
	"```\n\n# Approved\n\n[click](https://evil.example)", "\n```\n\n# Approved\n", "x\n````\n<h1>x</h1>\n", "````", "`", "``x``", "`a` `b", " `", "~~~\nx\n~~~",
	"<!-- switchyard:pull:41 -->", "<!--", "-->", "<!-- switchyard:notice/dev/20/1 -->", "a<!-- b --> c",
	"</details>", "</summary></details><h1>x</h1>", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;", "&#64;ana",
	"::error::boom", "\n::set-output name=x::y", "##[error]boom", "  ::add-mask::x", "##vso[task.complete]",
	"a|b", `a\|b`, `a\\|b`, "| a | b |\n| - | - |\n| 1 | 2 |", "x\n\n| a |\n| - |",
	"# heading", "\n# heading\n", "===", "---", "***", "- item", "1. item", "> quote", "+ x", "* x", "\n\n- [ ] task",
	"[link](https://evil.example)", "![image](https://evil.example/x.png)", "[ref]: https://evil.example", "https://evil.example", "www.evil.example",
	"<https://evil.example>", "http://evil.example/`x`", "#1", "acme/other#12", "GH-12", "**bold**", "__bold__", "*x*", "_x_", "~~x~~", "$x$", "$$\nx\n$$",
	":tada:", "a\u202eb", "a\u2066b\u2069", "a\u200bb", "\ufeff", "\u2028x\u2029", "a\x00b", "\x1b[31mred\x1b[0m", "a\rb", "a\r\nb", "a\tb",
	"\xff\xfe", "a\xc3", "\xed\xa0\x80", "tag\U000e0041", "\u0338", "🚀", strings.Repeat("🚀", 500), strings.Repeat("a", 1500), strings.Repeat("`", 300),
	"x\\", "\\`x\\`", "\\", "$()", "$(rm -rf /)", "'; drop table --", `"`, "../../etc/passwd", "", " ", "\n", "\n\n\n", "naïve résumé 東京",
	"a:\n  b", "    code", "\n    code\n", "\tcode", "[x]", "[^1]", "[^1]: note", "term\n: definition", "`x`s", "(`x`)", "a`b`c", "a`b``c`",
	"<details>\n\n", "<sub>", "<code>x</code>", "]]>", "<![CDATA[x]]>", "<?php ?>", "<!DOCTYPE html>", "%0A::error::x", "1)", "10.", "#", "+", "-", "=",
}

// filled puts one text into everything that others write.
type filled struct {
	text string
	made *operation.Result // its result, which is dear to make
}

func fill(text string) filled {
	f := filled{text: text}
	f.made = f.result()
	return f
}

func (f filled) change(action operation.Action, i int) operation.Change {
	value, err := json.Marshal(f.text)
	if err != nil {
		panic(err)
	}
	return operation.Change{
		Address: fmt.Sprintf("a%d%s", i, f.text), Action: action, PreviousAddress: f.text, ActionReason: "replace_because_cannot_update", ImportID: f.text,
		Deposed: f.text, ReplacePaths: []string{"p" + f.text},
		Attributes: []operation.Attribute{
			{Path: "p" + f.text, Before: value, After: value},
			{Path: f.text, Unknown: true, Before: value},
			{Path: f.text, Sensitive: true},
			{Path: "j" + f.text, Before: f.value(`{"a":1,"k":[1]}`), After: f.json(), Volatile: true},
			{Path: "k", After: f.json()},
			{Path: "l", Before: f.value("x\ny\n"), After: f.value("x\n" + f.text + "\n")},
			{Path: "n", After: f.value("x\n" + f.text + "\n")},
			{Path: "y", Before: f.value("a: 1\nb: 2\n"), After: f.value("a: 2\nb: 2\n")},
			{Path: f.text + "[0]", Before: f.value("x"), After: value},
			{Path: f.text + "[1]", After: f.value("x")},
		},
		Cause: &operation.Cause{Kind: operation.CauseData, Detail: "d" + f.text},
	}
}

// value is a string as the value of an attribute.
func (f filled) value(text string) json.RawMessage { return json.RawMessage(quote(text)) }

// json is a value that jsonencode could have made, with the text as a key and as a value.
func (f filled) json() json.RawMessage {
	encoded, err := json.Marshal(map[string]any{"k" + f.text: []string{f.text}, "a": 2})
	if err != nil {
		panic(err)
	}
	return f.value(string(encoded))
}

func (f filled) set() operation.ChangeSet {
	var changes []operation.Change
	for i, action := range []operation.Action{
		operation.Create, operation.Update, operation.Delete, operation.Replace, operation.ReplaceCreateFirst,
		operation.Move, operation.Import, operation.Forget, operation.Output, operation.Read,
	} {
		changes = append(changes, f.change(action, i))
	}
	for i, action := range []operation.Action{operation.Update, operation.Delete} { // stamps of one region only
		stamp := f.change(action, i)
		stamp.Address = "module.s[" + quote("g"+f.text) + "].x[" + quote(f.text) + "]"
		changes = append(changes, stamp)
	}
	return operation.ChangeSet{Changes: changes, Counts: plan.Count(changes)}
}

func (f filled) result() *operation.Result {
	t := target("r"+f.text, "e"+f.text, operation.TargetFailed, f.set())
	t.Error = "Error: " + f.text
	t.Unexpected, t.Tolerated, t.Drift = t.ChangeSet.Changes, t.ChangeSet.Changes[:3], t.ChangeSet.Changes[:2]
	t.Blocked, t.Notes = []string{"a" + f.text}, []string{"n " + f.text}
	t.Unexpected[1].Cause = &operation.Cause{Kind: operation.CauseKind("k" + f.text), Detail: f.text}
	t.Unexpected[2].Cause = &operation.Cause{Kind: operation.CauseIdentity, Detail: f.text}
	t.Risks = []operation.Risk{
		{Address: "a" + f.text, Deposed: "d" + f.text, Action: operation.Replace, Rule: operation.RiskReplaceStateful, Reason: "R " + f.text},
		{Address: f.text, Action: operation.Action("a" + f.text), Rule: operation.RiskRule("r" + f.text), Reason: f.text},
	}
	t.Lock = &operation.LockInfo{ID: "i" + f.text, Path: f.text, Operation: "o" + f.text, Who: "w" + f.text, Version: f.text, Created: "c" + f.text}
	other := target("s"+f.text, "e"+f.text, operation.Planned, added("b"+f.text))
	r := result(t, other)
	r.Error = "E " + f.text
	r.Tools = []operation.Tool{{Name: "t" + f.text, Version: f.text}}
	return r
}

func (f filled) operation(kind operation.Kind, state operation.State) operation.Operation {
	op := applyOperation("e"+f.text, state, f.made)
	op.Kind, op.Branch, op.Actor, op.Reason, op.Message = kind, "b"+f.text, "p"+f.text, "r "+f.text, "m "+f.text
	op.Doubt, op.Question, op.Head, op.Base = "d "+f.text, "q"+f.text, "h"+f.text, "b"+f.text
	return op
}

func (f filled) decision(verdict gitflow.Verdict) gitflow.Decision {
	return gitflow.Decision{
		Verdict: verdict, Environment: "e" + f.text, Title: "t" + f.text, Reasons: []string{"r " + f.text, "s " + f.text}, Later: []string{"l " + f.text},
		Remedy: "r " + f.text, Bases: []string{"b" + f.text}, Confirm: "c " + f.text,
	}
}

func (f filled) apply(state operation.State) render.ApplyView {
	v := apply(f.operation(operation.Apply, state))
	v.Promotion = f.promotion()
	running := f.operation(operation.Apply, operation.Running)
	v.Ahead, v.Position, v.Usually = &running, 2, time.Minute
	return v
}

func (f filled) promotion() []render.PromotionView {
	return []render.PromotionView{
		{Stage: "s" + f.text, Commit: "c" + f.text, Same: 2, Differs: []string{"d" + f.text, f.text}},
		{Stage: "t", Problem: "P " + f.text},
		{Stage: "u", Commit: "c", Baseline: []string{"r" + f.text}},
	}
}

var states = []operation.State{
	operation.Queued, operation.Running, operation.Unconfirmed, operation.Succeeded, operation.Failed, operation.Interrupted,
	operation.Cancelled, operation.Gathered, operation.Superseded,
}

// texts are all texts of this package, made of one foreign text.
func (f filled) texts() map[string]string {
	texts := map[string]string{}
	for _, state := range []operation.State{operation.Queued, operation.Unconfirmed, operation.Succeeded, operation.Failed} {
		op := f.operation(operation.Plan, state)
		v := pull(&op)
		v.Gitflow = f.decision(gitflow.Allowed)
		v.Roots = []render.RootReason{{Root: "r" + f.text, Reason: "r " + f.text}}
		v.Promotion, v.Regions = f.promotion(), []string{"g" + f.text, "h" + f.text}
		texts["plan "+string(state)] = render.PullComment(v)
		c := render.PlanCheck(v)
		texts["plan check "+string(state)], texts["plan check text "+string(state)] = c.Summary, c.Text
		v.Pages = &render.Pages{Bodies: make([]string, 2), URLs: []string{manyURL + "1" + f.text, manyURL + "2"}, Left: f.left()}
		texts["plan and pages "+string(state)], texts["plan check and pages "+string(state)] = render.PullComment(v), render.PlanCheck(v).Summary
		v.Pages = nil
		v.Applies = []render.ApplyView{f.apply(operation.Gathered), f.apply(state)}
		v.Applies[0].Operation.ID = 7
		texts["apply "+string(state)] = render.PullComment(v)
		c = render.ApplyCheck(f.apply(state))
		texts["apply check "+string(state)], texts["apply check text "+string(state)] = c.Summary, c.Text
		texts["notice "+string(state)] = render.Notice(f.apply(state))
	}
	texts["step summary"] = render.StepSummary(f.apply(operation.Unconfirmed))
	refused := pull(nil)
	refused.Gitflow = f.decision(gitflow.Refused)
	texts["refused"] = render.PullComment(refused)
	refused.Merge = "m " + strings.ReplaceAll(f.text, "\n", " ")
	texts["conflict"] = render.PullComment(refused)
	refused.Merge, refused.ConfigProblem = "", "c "+strings.ReplaceAll(f.text, "\n", " ")
	texts["configuration"] = render.PullComment(refused)
	texts["gitflow"] = render.GitflowCheck(refused.Gitflow).Summary
	texts["refused push"] = render.RefusedNotice(render.RefusedView{
		Environment: "e" + f.text, Branch: "b" + f.text, Commit: "c" + f.text, Repository: network, WebURL: web, Gitflow: refused.Gitflow,
	})
	f.answers(texts)
	f.locks(texts)
	return texts
}

// left is what no further comment shows.
func (f filled) left() []render.Left {
	return []render.Left{{
		Target: operation.Target{Root: "r" + f.text, Environment: "e" + f.text}, Changes: 3, Of: 4, Command: "/plan e" + f.text + " r" + f.text,
	}}
}

func (f filled) answers(texts map[string]string) {
	op := f.operation(operation.Apply, operation.Running)
	asks := f.apply(operation.Unconfirmed)
	for _, kind := range []render.ApplyAnswerKind{
		render.ApplyOpen, render.ApplyNothing, render.ApplyWrongDigest, render.ApplyNeedsDigest, render.ApplyConfirmed, render.ApplyQueued, render.ApplyRunning,
	} {
		texts["answer "+string(kind)] = render.ApplyAnswer(render.ApplyAnswerView{
			Kind: kind, Environment: "e" + f.text, Branch: "b" + f.text, Base: "b" + f.text, Target: "t" + f.text, Digest: "d" + f.text,
			Reason: "r " + f.text, Apply: &asks,
		})
	}
	texts["plan answer"] = render.PlanAnswer(render.PlanAnswerView{Environment: "e" + f.text, Root: "r" + f.text, Reason: "r " + f.text})
	texts["plan answer started"] = render.PlanAnswer(render.PlanAnswerView{Environment: "e" + f.text, Root: "r" + f.text, Operation: &op})
	for _, kind := range []render.UnblockKind{
		render.UnblockNothing, render.UnblockOwn, render.UnblockEarly, render.UnblockWaits, render.UnblockRuns, render.UnblockWhich,
	} {
		texts["unblock "+string(kind)] = render.UnblockAnswer(render.UnblockAnswerView{
			Kind: kind, Address: "a" + f.text, Root: "r" + f.text, Roots: []string{"r" + f.text, f.text},
			Environment: "e" + f.text, By: "b" + f.text, Author: "w" + f.text,
			Left: []string{f.text, "l" + f.text}, Question: "q" + f.text, Apply: &asks,
		})
	}
	texts["cancel"] = render.CancelAnswer(render.CancelAnswerView{
		Environment: "e" + f.text, By: f.text, Stopping: []operation.Operation{op}, Cancelled: []operation.Operation{op},
	})
	texts["unlock"] = render.UnlockAnswer(render.UnlockAnswerView{Environment: "e" + f.text, Released: &op, Now: noon})
	texts["unlock alive"] = render.UnlockAnswer(render.UnlockAnswerView{Environment: "e" + f.text, Alive: &op, Now: noon})
	texts["status"] = render.Status(render.StatusView{Repository: network, WebURL: web, Now: noon, Environments: []render.EnvironmentStatus{{
		Name: "e" + f.text, Branches: []string{"b" + f.text}, Holder: &op, Waiting: []operation.Operation{op}, Unconfirmed: []operation.Operation{op},
		Roots: []render.RootStatus{{Root: "r" + f.text, Commit: "c" + f.text, At: noon}},
	}}})
	why := render.WhyView{
		Repository: network, WebURL: web, Pull: 41, Gitflow: f.decision(gitflow.Allowed), Plan: &op, Now: noon,
		Roots: []render.RootReason{{Root: "r" + f.text, Reason: "r " + f.text}}, Applies: []render.ApplyView{asks},
	}
	texts["why"] = render.Why(why)
	why.Address = "a" + f.text
	texts["why nothing"] = render.Why(why)
	why.History = []render.AddressChange{{Operation: op, Target: operation.Target{Root: "r" + f.text, Environment: "e" + f.text}, Change: f.change(operation.Replace, 0)}}
	texts["why address"] = render.Why(why)
	why.Planned, why.Unlooked = why.History, 2
	why.Ledger = []render.LedgerEntry{{
		At: noon, Target: operation.Target{Root: "r" + f.text, Environment: "e" + f.text}, Change: f.change(operation.Replace, 0), Outcome: operation.Applied,
		Operation: 1, Pull: 41, Commit: "c" + f.text, Actor: "a" + f.text, Approved: []string{"b" + f.text}, Confirmed: "c" + f.text, Digest: "d" + f.text,
	}, {Target: operation.Target{Root: f.text, Environment: f.text}, Change: f.change(operation.Action("x"+f.text), 0)}}
	texts["why ledger"] = render.Why(why)
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote))

var allowedHTML = regexp.MustCompile(`</?(details|summary|sub|code)>|<!-- switchyard:pull:41(:page:[0-9]+)? -->`)

// harms lists what a text has that no foreign text may bring into it.
func harms(content string) []string {
	return harmsIn(content, markdown.Parser().Parse(text.NewReader([]byte(content))))
}

func harmsIn(content string, document ast.Node) []string {
	var found []string
	add := func(format string, arguments ...any) { found = append(found, fmt.Sprintf(format, arguments...)) }
	if !utf8.ValidString(content) {
		add("invalid UTF-8")
	}
	for _, r := range content {
		if r != '\n' && r != '\u200d' && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)) || r == '\u2028' || r == '\u2029' {
			add("the invisible character %U", r)
		}
	}
	for line := range strings.SplitSeq(content, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
			add("the workflow command %q", line)
		}
	}
	source := []byte(content)
	err := ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch node := node.(type) {
		case *ast.Link:
			if !strings.HasPrefix(string(node.Destination), web+"/acme/network/") {
				add("a link to %s", node.Destination)
			}
		case *ast.Image, *ast.AutoLink, *ast.Heading, *ast.ThematicBreak, *ast.Blockquote:
			add("a %s", node.Kind())
		case *ast.HTMLBlock:
			for i := range node.Lines().Len() {
				line := node.Lines().At(i)
				checkHTML(string(line.Value(source)), add)
			}
		case *ast.RawHTML:
			for i := range node.Segments.Len() {
				segment := node.Segments.At(i)
				checkHTML(string(segment.Value(source)), add)
			}
		case *ast.CodeSpan, *ast.FencedCodeBlock:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			if bad := string(node.Segment.Value(source)); strings.ContainsAny(bad, "@<>$[]\\") || strings.Contains(bad, "://") {
				add("the text %q", bad)
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		add("%v", err)
	}
	return found
}

func checkHTML(raw string, add func(string, ...any)) {
	if rest := allowedHTML.ReplaceAllString(raw, ""); strings.ContainsAny(rest, "<>@") {
		add("the HTML %q", raw)
	}
}

// skeleton is the structure of a text down to its blocks.
func skeleton(document ast.Node) string {
	var blocks strings.Builder
	_ = ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if node.Type() == ast.TypeInline {
			return ast.WalkSkipChildren, nil
		}
		if entering {
			fmt.Fprintf(&blocks, "(%s", node.Kind())
		} else {
			blocks.WriteString(")")
		}
		return ast.WalkContinue, nil
	})
	return blocks.String()
}

// skeletons has the structures of all texts that are made of one tame text; many hostile texts have the same.
var skeletons sync.Map

func skeletonsOf(tamed string) map[string]string {
	if known, ok := skeletons.Load(tamed); ok {
		return known.(map[string]string)
	}
	made := map[string]string{}
	for name, content := range fill(tamed).texts() {
		made[name] = skeleton(markdown.Parser().Parse(text.NewReader([]byte(content))))
	}
	skeletons.Store(tamed, made)
	return made
}

// tame replaces everything in a text but its line ends and spaces.
func tame(content string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' {
			return r
		}
		return 'x'
	}, content)
}

func checkHarmless(t *testing.T, foreign string) {
	t.Helper()
	var benign map[string]string
	if len(foreign) <= 200 { // a longer one may be shown in less detail than its tame twin
		benign = skeletonsOf(tame(foreign))
	}
	checkPages(t, foreign)
	for name, content := range fill(foreign).texts() {
		document := markdown.Parser().Parse(text.NewReader([]byte(content)))
		for _, harm := range harmsIn(content, document) {
			t.Errorf("%s with %q has %s", name, foreign, harm)
		}
		if len(content) > render.MaxCheckText && name != "step summary" {
			t.Errorf("%s with %q has %d bytes", name, foreign, len(content))
		}
		marks := 0
		if strings.Contains(content, render.Marker(41)) {
			marks = 1
		}
		if got := strings.Count(content, "<!--"); got != marks || strings.Contains(content, "\n"+render.Marker(41)+"\n") != (marks == 1) {
			t.Errorf("%s with %q has %d hidden comments", name, foreign, got)
		}
		if benign == nil {
			continue
		}
		if diff := cmp.Diff(benign[name], skeleton(document)); diff != "" {
			t.Errorf("%s with %q has another structure (-tame +hostile):\n%s\n%s", name, foreign, diff, content)
		}
	}
}

func TestForeignTextBreaksNothing(t *testing.T) {
	t.Parallel()
	for i, foreign := range hostile {
		if sampled && i%8 != 0 {
			continue
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			checkHarmless(t, foreign)
		})
	}
}

func TestANameKeepsToItsCellInATable(t *testing.T) {
	t.Parallel()
	for _, foreign := range hostile {
		v := pull(planOperation(operation.Succeeded, result(target("r"+foreign, "e"+foreign, operation.Unchanged, operation.ChangeSet{}))))
		rows := 0
		for line := range strings.SplitSeq(render.PullComment(v), "\n") {
			if !strings.HasPrefix(line, "| ") {
				continue
			}
			rows++
			if got := strings.Count(line, "|"); got != 8 {
				t.Errorf("with %q a row has %d bars: %s", foreign, got, line)
			}
		}
		if rows != 3 {
			t.Errorf("with %q the table has %d lines", foreign, rows)
		}
	}
}

func FuzzForeignText(f *testing.F) {
	for i, foreign := range hostile {
		if i%40 == 0 { // the test above has all of them
			f.Add(foreign)
		}
	}
	f.Fuzz(func(t *testing.T, foreign string) {
		if len(foreign) > 2000 {
			t.Skip()
		}
		checkHarmless(t, foreign)
	})
}

func TestTitlesAndDescriptionsAreShort(t *testing.T) {
	t.Parallel()
	for i, foreign := range hostile {
		if i%8 != 0 {
			continue
		}
		long := fill(foreign + strings.Repeat("é", 400))
		titles := []string{
			render.GitflowCheck(long.decision(gitflow.Refused)).Title,
			render.ApplyCheck(long.apply(operation.Unconfirmed)).Title,
			render.PlanCheck(pull(func() *operation.Operation { op := long.operation(operation.Plan, operation.Succeeded); return &op }())).Title,
		}
		for _, title := range titles {
			if len(title) > render.MaxTitle || !utf8.ValidString(title) || strings.Contains(title, "\n") || title == "" {
				t.Errorf("title %q", title)
			}
		}
		for _, state := range states {
			got := render.DeploymentDescription(long.operation(operation.Apply, state))
			if len(got) > render.MaxDescription || !utf8.ValidString(got) || strings.Contains(got, "\n") || got == "" {
				t.Errorf("description %q", got)
			}
		}
	}
}
