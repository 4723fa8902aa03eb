package explain

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/provisioner"
	"github.com/berth-csi/berth/topology"
)

// noProvisioner is the name that classes of volumes made by hand give instead of a driver's.
const noProvisioner = "kubernetes.io/no-provisioner"

// annotationDefaultClass marks the class of claims that name none.
const annotationDefaultClass = "storageclass.kubernetes.io/is-default-class"

// missing helps somebody whose claim is not there.
func missing(f Facts) []note {
	verdict := problem(aboutVerdict, fmt.Sprintf("Claim %s/%s does not exist", f.Namespace, f.Name), "")
	if f.Missing.Namespace.Sight == Absent {
		verdict.Text = fmt.Sprintf("Claim %s/%s does not exist: there is no namespace %q", f.Namespace, f.Name, f.Namespace)
	}
	notes := []note{verdict}
	if names := similar(f.Name, f.Missing.Others.Value, 5); len(names) > 0 {
		notes = append(notes, info("similar", fmt.Sprintf("Namespace %q has %s", f.Namespace, few(names, 5))))
		notes[0].Do = fmt.Sprintf("If you meant %s, ask for that", names[0])
	} else if others := f.Missing.Others; others.Sight == Seen && f.Missing.Namespace.Sight != Absent {
		text := fmt.Sprintf("Namespace %q has %s, none of a similar name", f.Namespace, count(len(others.Value), "claim", "claims"))
		switch {
		case len(others.Value) == 0:
			text = fmt.Sprintf("Namespace %q has no claims", f.Namespace)
		case others.Partial:
			text = fmt.Sprintf("None of the first %d claims of namespace %q has a similar name", len(others.Value), f.Namespace)
		}
		notes = append(notes, info("similar", text))
	}
	if places := f.Missing.Elsewhere.Value; len(places) > 0 {
		notes = append(notes, info("elsewhere", fmt.Sprintf("A claim %q exists in namespace %s", f.Name, few(places, 5))))
		notes[0].Do = fmt.Sprintf("If you meant the one in namespace %q, ask for %s/%s", places[0], places[0], f.Name)
	}
	if notes[0].Do == "" {
		notes[0].Do = "Look at the names with \"kubectl get pvc -A\". A StatefulSet or a Helm release makes its claims only when it is installed"
	}
	return notes
}

// claim says what is asked for.
func (d *diagnosis) claim() []note {
	spec := d.Claim.Spec
	var words []string
	if request, ok := spec.Resources.Requests[corev1.ResourceStorage]; ok {
		words = append(words, size(request))
	}
	for _, mode := range spec.AccessModes {
		words = append(words, string(mode))
	}
	if spec.VolumeMode != nil {
		words = append(words, string(*spec.VolumeMode))
	}
	words = append(words, "made "+ago(d.Now, d.Claim.CreationTimestamp.Time))
	notes := []note{info(aboutClaim, strings.Join(words, ", "))}
	if spec.Selector != nil && d.pending() {
		notes = append(notes, problem(aboutClaim, "It has a selector, so only a volume that exists already can be bound to it, and none is created",
			"Make the claim again without spec.selector, or have a PersistentVolume made that the selector fits"))
	}
	return notes
}

func (d *diagnosis) class() []note {
	name := volumehelpers.GetPersistentVolumeClaimClass(d.Claim)
	switch {
	case !volumehelpers.PersistentVolumeClaimHasClass(d.Claim):
		return d.noClass()
	case name == "" && d.pending():
		return []note{problem(aboutClass, "Its class is \"\": it is only bound to a volume that somebody makes by hand, and nothing is provisioned",
			"Make the claim again without spec.storageClassName to have the default class, or with the name of one")}
	case d.Class.Sight == Absent:
		return d.classGone(name)
	case d.Class.Sight != Seen:
		return nil
	}
	class := d.Class.Value
	if class.Provisioner == noProvisioner {
		text := fmt.Sprintf("Class %q provisions nothing (%s): its volumes are made by hand", name, noProvisioner)
		if !d.pending() {
			return []note{info(aboutClass, text)}
		}
		return []note{problem(aboutClass, text, "Have a PersistentVolume of this class made that is large enough, or make the claim again with another class")}
	}
	binding := storagev1.VolumeBindingImmediate
	if class.VolumeBindingMode != nil {
		binding = *class.VolumeBindingMode
	}
	of := fmt.Sprintf("driver %s", class.Provisioner)
	if d.InTree != "" {
		of = fmt.Sprintf("in-tree driver %s, which %s took over", d.InTree, d.Driver)
	}
	notes := []note{info(aboutClass, fmt.Sprintf("%q, of %s, binding %s", name, of, binding))}
	if class.AllowedTopologies != nil && d.pending() {
		allowed := topology.Allowed(class.AllowedTopologies)
		if len(allowed) == 0 {
			return append(notes, problem(aboutClass, "Its allowedTopologies can never be satisfied: a term is empty, or a key has no values",
				fmt.Sprintf("Have an administrator delete class %q and make it again with proper allowedTopologies", name)))
		}
		notes = append(notes, info(aboutClass, "Volumes may only be in "+few(segmentNames(allowed), 4)))
	}
	return notes
}

// noClass: the claim names none. The API server fills in the default class when the claim is made, and the controller-manager later, when
// there is one (KEP-3333).
func (d *diagnosis) noClass() []note {
	if !d.pending() {
		return []note{info(aboutClass, "It names no storage class")}
	}
	do := "Make the claim again with spec.storageClassName" + d.orOneOf()
	return []note{problem(aboutClass, "It names no storage class, and the cluster had no default one", do+", or have an administrator mark a class as the default").
		because("it names no storage class, and the cluster has no default class that it could have been given")}
}

func (d *diagnosis) classGone(name string) []note {
	if !d.pending() {
		return []note{info(aboutClass, fmt.Sprintf("%q, which does not exist any more", name))}
	}
	do := fmt.Sprintf("Delete the claim and make it again with a class that exists%s, or have %q created: the claim then goes on by itself", d.orOneOf(), name)
	return []note{problem(aboutClass, fmt.Sprintf("Storage class %q does not exist", name), do).
		because(fmt.Sprintf("storage class %q does not exist", name))}
}

// orOneOf lists classes, those of similar names first.
func (d *diagnosis) orOneOf() string {
	var names, defaults []string
	for i := range d.Classes {
		names = append(names, d.Classes[i].Name)
		if d.Classes[i].Annotations[annotationDefaultClass] == "true" {
			defaults = append(defaults, d.Classes[i].Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	ordered := similar(volumehelpers.GetPersistentVolumeClaimClass(d.Claim), names, 5)
	for _, name := range append(defaults, names...) {
		if !slices.Contains(ordered, name) {
			ordered = append(ordered, name)
		}
	}
	return " (" + few(ordered, 5) + ")"
}

// attributesClass: the same rules as the provisioner's (KEP-3751), but for what only the driver can tell.
func (d *diagnosis) attributesClass() []note {
	if d.Claim.Spec.VolumeAttributesClassName == nil || *d.Claim.Spec.VolumeAttributesClassName == "" {
		return nil
	}
	name := *d.Claim.Spec.VolumeAttributesClassName
	switch d.AttributesClass.Sight {
	case Absent:
		n := problem(aboutAttributes, fmt.Sprintf("Volume attributes class %q does not exist", name),
			"Have it created, or name another in spec.volumeAttributesClassName")
		if !d.pending() {
			n.Severity = Warning
		}
		return []note{n.because(fmt.Sprintf("volume attributes class %q does not exist", name))}
	case Seen:
		if driver := d.AttributesClass.Value.DriverName; d.Driver != "" && driver != d.Driver {
			n := problem(aboutAttributes, fmt.Sprintf("Volume attributes class %q is of driver %s, not of %s", name, driver, d.Driver),
				"Make the claim again with a volume attributes class of its own driver, or without one")
			if !d.pending() {
				n.Severity = Warning
			}
			return []note{n}
		}
		return []note{info(aboutAttributes, fmt.Sprintf("Volume attributes class %q exists", name))}
	case NotLooked, Hidden:
	}
	return nil
}

// remakeForSource goes with messages that say themselves what is to be changed.
const remakeForSource = "Do what the message says. A claim's data source and mode cannot be changed, so where those are wrong the claim has to be " +
	"made again; a grant, an annotation or another source is noticed by itself"

// source judges by the rules that the provisioner goes by. What only it knows, the driver's capabilities and its own flags, counts for the claim.
func (d *diagnosis) source() []note {
	reference, resolved := datasource.Resolve(d.Claim)
	switch {
	case !d.pending():
		if reference.Kind == datasource.None {
			return nil
		}
		return []note{info(aboutSource, "It is made from "+reference.String())}
	case resolved.Decision == datasource.Deny:
		return []note{problem(aboutSource, upper(resolved.Message), remakeForSource).because(resolved.Message)}
	case reference.Kind == datasource.None:
		return nil
	case reference.Kind == datasource.Populator:
		return []note{waiting(aboutSource, fmt.Sprintf("A volume populator for %s is expected to make its volume; no driver is asked for it", reference),
			"If no such populator is installed, have it installed, or make the claim again without the data source")}
	case d.Source.Sight != Seen || d.Driver == "":
		return []note{info(aboutSource, "It is to be made from "+reference.String())}
	}
	facts := d.Source.Value
	facts.Claim, facts.Reference, facts.Driver = d.Claim, reference, d.Driver
	facts.Capabilities = datasource.Capabilities{Snapshot: true, Clone: true}
	facts.CrossNamespace, facts.PreventModeConversion = true, true
	verdict := datasource.Judge(facts)
	if d.ContentHidden && verdict.Reason == datasource.ReasonContentNotFound {
		return []note{info(aboutSource, fmt.Sprintf("It is to be made from %s, which is bound; its content could not be looked at", reference))}
	}
	switch verdict.Decision {
	case datasource.Deny:
		return []note{problem(aboutSource, upper(verdict.Message), remakeForSource).because(verdict.Message)}
	case datasource.Unknown:
		do := fmt.Sprintf("Look at the source with \"kubectl describe %s -n %s %s\"", strings.ToLower(reference.Kind.String()), reference.Namespace, reference.Name)
		return []note{waiting(aboutSource, upper(verdict.Message), do).because(verdict.Message)}
	case datasource.Allow:
	}
	return []note{info(aboutSource, fmt.Sprintf("It is to be made from %s, with which all is in order", reference))}
}

// request asks the provisioner's own decision about everything else: the class's parameters, secrets' names, access modes. Place and source
// have been judged with what is known of them, so they are left out here.
func (d *diagnosis) request() []note {
	if !d.itsTurn() || d.Class.Sight != Seen || d.InTree != "" || d.AttributesClass.Sight == Hidden || d.Class.Value.Provisioner != d.Driver {
		return nil
	}
	claim := d.Claim.DeepCopy()
	claim.Spec.DataSource, claim.Spec.DataSourceRef, claim.Spec.Selector, claim.Spec.VolumeAttributesClassName = nil, nil, nil, nil
	if claim.Annotations == nil {
		claim.Annotations = map[string]string{}
	}
	claim.Annotations[volumehelpers.AnnStorageProvisioner] = d.Driver
	in := provisioner.Input{Claim: claim, Class: d.Class.Value}
	in.Settings.Driver.Name = d.Driver
	in.Settings.NamePrefix, in.Settings.NameUUIDLength = "pvc", -1
	if refused, ok := provisioner.Decide(in).(provisioner.Refuse); ok {
		return []note{problem(aboutRequest, upper(refused.Message),
			"Change what the message names. A class cannot be edited: it is deleted and created again, and its claims are then tried at once").
			because(refused.Message)}
	}
	return nil
}

func upper(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func segmentNames(segments []topology.Segment) []string {
	var names []string
	for _, segment := range segments {
		names = append(names, segment.String())
	}
	return names
}
