package operation

// Held is one danger of what a plan does to one object that the configuration holds back until a second person approves it.
type Held struct {
	Address string   `json:"address"`
	Deposed string   `json:"deposed,omitempty"`
	Rule    RiskRule `json:"rule"`
	Change  string   `json:"change"` // the digest of all that the plan does to the object, see plan.ApprovalDigest
}
