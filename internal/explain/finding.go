package explain

// Severity says what a finding means to somebody who wants the claim's volume.
type Severity string

const (
	// Problem: it holds the claim up, and somebody has to do something.
	Problem Severity = "problem"
	// Warning: it does not hold the claim up now, as far as can be told, but it is not as it should be.
	Warning Severity = "warning"
	// Waiting: it holds the claim up, and passes by itself.
	Waiting Severity = "waiting"
	// Info: so it is.
	Info Severity = "info"
	// Unknown: it could not be looked at.
	Unknown Severity = "unknown"
)

// Finding is one thing that there is to say about a claim.
type Finding struct {
	Severity Severity `json:"severity"`
	About    string   `json:"about"`
	Text     string   `json:"text"`
	// Do says what a person can do about it; empty: nothing, or it is said elsewhere.
	Do string `json:"do,omitempty"`
}

// note is a finding in the making.
type note struct {
	Finding
	// cause ends the sentence "Claim x is Pending: ...", if this is what the claim waits for; empty: Text says it.
	cause string
}

func info(about, text string) note {
	return note{Finding: Finding{Severity: Info, About: about, Text: text}}
}

func problem(about, text, do string) note {
	return note{Finding: Finding{Severity: Problem, About: about, Text: text, Do: do}}
}

func warning(about, text, do string) note {
	return note{Finding: Finding{Severity: Warning, About: about, Text: text, Do: do}}
}

func waiting(about, text, do string) note {
	return note{Finding: Finding{Severity: Waiting, About: about, Text: text, Do: do}}
}

// because gives a note the words for the verdict.
func (n note) because(cause string) note {
	n.cause = cause
	return n
}
