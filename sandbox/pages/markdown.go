package pages

import (
	"bytes"
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// converters returns GitHub-flavoured Markdown with raw HTML and the policy that makes its result
// harmless; making them is slow and they are safe to share.
//
//nolint:gochecknoglobals // constants that need code
var converters = sync.OnceValues(func() (goldmark.Markdown, *bluemonday.Policy) {
	return goldmark.New(
		goldmark.WithExtensions(extension.Linkify, extension.Strikethrough, extension.TaskList,
			extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))), // styles would be sanitised away
		goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(references{}, 500))), //nolint:mnd // after GFM's own
		goldmark.WithRendererOptions(html.WithUnsafe(), html.WithHardWraps(),
			renderer.WithNodeRenderers(util.Prioritized(diffBlocks{}, 100))), //nolint:mnd // before the default of 1000
	), policy()
})

// policy is what GitHub lets through of a comment's HTML, without ids, styles, forms and anything that loads or runs.
// https://github.github.com/gfm/#disallowed-raw-html-extension-
func policy() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "dl", "dt", "dd",
		"b", "strong", "i", "em", "s", "strike", "del", "ins", "sub", "sup", "kbd", "samp", "var", "tt", "q", "abbr", "small",
		"code", "pre", "span", "div", "details", "summary", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption")
	p.AllowAttrs("open").Matching(regexp.MustCompile(`^(open)?$`)).OnElements("details")
	p.AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("p", "div", "th", "td", "h1", "h2", "h3")
	p.AllowAttrs("colspan", "rowspan").Matching(regexp.MustCompile(`^[0-9]{1,3}$`)).OnElements("th", "td")
	p.AllowAttrs("start").Matching(regexp.MustCompile(`^[0-9]{1,9}$`)).OnElements("ol")
	p.AllowAttrs("title").Matching(bluemonday.Paragraph).OnElements("abbr", "a", "span")
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^(language-[\w+#-]{1,30}|diff|line (add|del|change|hunk)|mention)$`)).
		OnElements("code", "pre", "span")
	p.AllowAttrs("type").Matching(regexp.MustCompile(`^checkbox$`)).OnElements("input")
	p.AllowAttrs("checked", "disabled").Matching(regexp.MustCompile(`^$`)).OnElements("input")
	p.AllowAttrs("href").OnElements("a")
	p.AllowURLSchemes("http", "https", "mailto")
	p.AllowRelativeURLs(true)
	p.RequireParseableURLs(true)
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnFullyQualifiedLinks(true)
	return p
}

// markdown renders what people and programs wrote, as in a comment of the repository at path. The
// result is harmless: it is sanitised last.
func markdown(path, source string) template.HTML {
	converter, harmless := converters()
	var b bytes.Buffer
	context := parser.NewContext()
	context.Set(repositoryKey, path)
	if err := converter.Convert([]byte(source), &b, parser.WithContext(context)); err != nil {
		return template.HTML("<pre>" + template.HTMLEscapeString(source) + "</pre>") //nolint:gosec // escaped
	}
	return template.HTML(harmless.SanitizeBytes(b.Bytes())) //nolint:gosec // sanitised
}

var repositoryKey = parser.NewContextKey() //nolint:gochecknoglobals // a constant

// reference is what GitHub turns into links in a text: #41, a commit's SHA, @login.
var reference = regexp.MustCompile(`(^|[\s(\[,;:])(#[0-9]{1,9}|[0-9a-f]{40}|@[A-Za-z0-9][A-Za-z0-9-]{0,38})\b`)

// references links pull requests, issues, commits and people in the text of a document, not in its code and links.
type references struct{}

// Transform implements parser.ASTTransformer.
func (references) Transform(document *ast.Document, reader text.Reader, context parser.Context) {
	path, _ := context.Get(repositoryKey).(string)
	var texts []*ast.Text
	_ = ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) { // the function never fails
		switch node := node.(type) {
		case *ast.Link, *ast.AutoLink, *ast.CodeSpan, *ast.FencedCodeBlock, *ast.CodeBlock, *ast.HTMLBlock:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			if entering {
				texts = append(texts, node)
			}
		}
		return ast.WalkContinue, nil
	})
	for _, node := range texts {
		link(node, reader.Source(), path)
	}
}

// link splits a text at its references.
func link(node *ast.Text, source []byte, path string) {
	value := node.Segment.Value(source)
	matches := reference.FindAllSubmatchIndex(value, -1)
	if matches == nil {
		return
	}
	parent, start := node.Parent(), node.Segment.Start
	insert := func(from, to int) *ast.Text {
		part := ast.NewTextSegment(text.NewSegment(start+from, start+to))
		parent.InsertBefore(parent, node, part)
		return part
	}
	last := 0
	for _, match := range matches {
		from, to := match[4], match[5]
		insert(last, from)
		last = to
		word := string(value[from:to])
		anchor := ast.NewLink()
		switch word[0] {
		case '#':
			anchor.Destination = []byte(path + "/issues/" + word[1:])
		case '@':
			anchor.Destination = []byte("/" + word[1:])
		default:
			anchor.Destination = []byte(path + "/commit/" + word)
			to = from + shortSHA
		}
		anchor.AppendChild(anchor, ast.NewTextSegment(text.NewSegment(start+from, start+to)))
		parent.InsertBefore(parent, node, anchor)
	}
	node.Segment = node.Segment.WithStart(start + last)
}

// diffBlocks renders fenced code, with the colours of a diff where the language says so.
type diffBlocks struct{}

// RegisterFuncs implements renderer.NodeRenderer.
func (diffBlocks) RegisterFuncs(register renderer.NodeRendererFuncRegisterer) {
	register.Register(ast.KindFencedCodeBlock, renderFenced)
}

func renderFenced(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	block, ok := node.(*ast.FencedCodeBlock)
	if !ok || !entering {
		return ast.WalkContinue, nil
	}
	language := string(block.Language(source))
	var b strings.Builder
	switch language {
	case "":
		b.WriteString("<pre><code>")
	case "diff":
		b.WriteString(`<pre class="diff"><code>`)
	default:
		fmt.Fprintf(&b, `<pre><code class="language-%s">`, template.HTMLEscapeString(language))
	}
	lines := block.Lines()
	for i := range lines.Len() {
		segment := lines.At(i)
		line := template.HTMLEscapeString(strings.TrimRight(string(segment.Value(source)), "\n"))
		if class := diffClass(line); language == "diff" && class != "" {
			line = `<span class="line ` + class + `">` + line + "</span>"
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("</code></pre>\n")
	if _, err := w.WriteString(b.String()); err != nil {
		return ast.WalkStop, fmt.Errorf("write a code block: %w", err)
	}
	return ast.WalkContinue, nil
}

// diffClass is how a line of a diff is coloured: by its first character, as on GitHub.
func diffClass(line string) string {
	switch {
	case strings.HasPrefix(line, "@@"):
		return "hunk"
	case strings.HasPrefix(line, "+"):
		return "add"
	case strings.HasPrefix(line, "-"):
		return "del"
	case strings.HasPrefix(line, "!"), strings.HasPrefix(line, "~"):
		return "change"
	default:
		return ""
	}
}
