package webhook

// Result is what comes of a review: Admit or Refuse.
//
//sumtype:decl
type Result interface{ result() }

// Admit lets the object in. The zero Admit says nothing but that; it has no reason, which a Result of this package always has.
type Admit struct {
	Reason   string            // one of the Reason constants, or of package datasource's
	Changes  []Change          // to the object's annotations, in order
	Warnings []string          // that the user is shown
	Audit    map[string]string // what the audit log keeps
}

// Refuse keeps the object out.
type Refuse struct {
	Reason  string // as Admit's
	Message string // what is wrong, where, and what to do about it
	Invalid bool   // the object itself is malformed, whatever else the cluster holds
}

func (Admit) result()  {}
func (Refuse) result() {}

// Change is one annotation to be written, or removed.
type Change struct {
	Key, Value string
	Remove     bool
}

// warning returns an Admit that warns of one thing.
func warning(reason, text string) Admit { return Admit{Reason: reason, Warnings: []string{text}} }

// The keys of audit annotations; the API server puts the webhook's name before them.
const (
	auditConverted = "volume-mode-conversion"
	auditUnchecked = "volume-mode-unchecked"
)
