package operation

// CommandWord is one slash command: its name and the least permission on the repository that it needs.
// Configuration can ask for more, never for less.
type CommandWord struct {
	Name       string // without the slash
	Permission string // read, write or maintain
	Later      bool   // known, but not in effect in this version
}

// CommandWords lists all slash commands, in the order in which help shows them.
func CommandWords() []CommandWord {
	return []CommandWord{
		{Name: "help", Permission: "read"},
		{Name: "status", Permission: "read"},
		{Name: "why", Permission: "read"},
		{Name: "plan", Permission: "write"},
		{Name: "apply", Permission: "write"},
		{Name: "cancel", Permission: "write"},
		{Name: "unlock", Permission: "maintain"},
		{Name: "break-lease", Permission: "maintain"},
		{Name: "approve-replace", Permission: "maintain"},
		{Name: "drift", Permission: "write", Later: true},
		{Name: "failover", Permission: "maintain", Later: true},
		{Name: "failback", Permission: "maintain", Later: true},
		{Name: "drill", Permission: "maintain", Later: true},
		{Name: "confirm", Permission: "write"},
	}
}

// CommandNames lists the names of all slash commands, with those that are not in effect yet.
func CommandNames() []string {
	words := CommandWords()
	names := make([]string, 0, len(words))
	for _, word := range words {
		names = append(names, word.Name)
	}
	return names
}

// ReservedNames lists the words that no environment may be called, because a command would
// not know whether the environment or its own part is meant.
func ReservedNames() []string {
	return append(CommandNames(), "accept", "resume", "abort", "all")
}

// PermissionRank orders GitHub's repository roles: a higher rank includes the lower ones.
// A role that it does not know, also a custom one, ranks as none.
// https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user
func PermissionRank(role string) int {
	switch role {
	case "read":
		return 1
	case "triage":
		return 2
	case "write":
		return 3
	case "maintain":
		return 4
	case "admin":
		return 5
	default:
		return 0
	}
}
