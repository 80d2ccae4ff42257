package settings

import "strings"

// Reference is the reference of all options as a Markdown table.
func Reference() string {
	var b strings.Builder
	b.WriteString("| Option | Variable | Default | What it does |\n| --- | --- | --- | --- |\n")
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, o := range options() {
		key, initial := "`"+o.key+"`", o.initial
		if o.onlyEnv {
			key = ""
		}
		if initial != "" && initial != "any" && initial != "none" && !strings.ContainsAny(initial, " `") {
			initial = "`" + initial + "`"
		}
		row := []string{key, "`" + o.variable() + "`", cell.Replace(initial), cell.Replace(o.doc + " " + o.fix)}
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	return b.String()
}
