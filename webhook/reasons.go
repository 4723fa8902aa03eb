package webhook

// Reasons of results, for metrics, logs and the audit log. Beside these there are those of package datasource.
const (
	// ReasonAnnotated and ReasonAnnotatedWithHint: the claim was given to the driver.
	ReasonAnnotated         = "Annotated"
	ReasonAnnotatedWithHint = "AnnotatedWithHint"
	// ReasonAlreadyAnnotated: nothing was left to write.
	ReasonAlreadyAnnotated = "AlreadyAnnotated"
	// ReasonAnnotationRemoved: the claim said it was the driver's, and its class says otherwise.
	ReasonAnnotationRemoved = "AnnotationRemoved"
	// ReasonAnnotationsFull: the API server would not take one more annotation.
	ReasonAnnotationsFull = "AnnotationsFull"
	// ReasonInvalidHint: the topology hint that somebody wrote cannot be read.
	ReasonInvalidHint = "InvalidTopologyHint"

	// ReasonNoClass: the claim has no storage class, or not yet.
	ReasonNoClass = "NoStorageClass"
	// ReasonClassUnknown: the claim's class does not exist, or was not heard of yet.
	ReasonClassUnknown = "StorageClassUnknown"
	// ReasonOtherProvisioner: the claim's class is not this driver's.
	ReasonOtherProvisioner = "OtherProvisioner"
	// ReasonInTree: the claim's class is of the in-tree driver that this one took over.
	ReasonInTree = "InTreeProvisioner"
	// ReasonVolumeNamed: the claim names its volume.
	ReasonVolumeNamed = "VolumeNamed"
	// ReasonSelector: the claim selects among volumes that exist.
	ReasonSelector = "VolumeSelector"
	// ReasonStaticVolume: a volume exists that the claim may be bound to.
	ReasonStaticVolume = "StaticVolume"
	// ReasonDeleting: the object is being deleted.
	ReasonDeleting = "Deleting"
	// ReasonNothingNew: the update changes nothing that is judged here.
	ReasonNothingNew = "NothingNew"
	// ReasonNotConcerned: the review is of another kind of object, of a subresource, or of another operation.
	ReasonNotConcerned = "NotConcerned"

	// ReasonNoSource: the claim is to be empty, or a volume populator fills it.
	ReasonNoSource = "NoDataSource"
	// ReasonModeKept: the claim has its source's volume mode.
	ReasonModeKept = "VolumeModeKept"
	// ReasonModeConverted: it has another one, which an annotation permits.
	ReasonModeConverted = "VolumeModeConverted"
	// ReasonModeUnknown: the snapshot's content does not tell its volume mode.
	ReasonModeUnknown = "SourceVolumeModeUnknown"
	// ReasonSourceUnreadable: it could not be found out what the claim is to be made from.
	ReasonSourceUnreadable = "SourceUnreadable"

	// ReasonContentValid: nothing is wrong with the snapshot's content.
	ReasonContentValid = "ContentValid"
	// ReasonModeSet: somebody gives a content a source volume mode that it did not have.
	ReasonModeSet = "SourceVolumeModeSet"
	// ReasonInvalidAnnotation: an annotation's value is not what it has to be.
	ReasonInvalidAnnotation = "InvalidAnnotation"

	// ReasonUndecodable: the object in the review is not of the form that this version knows.
	ReasonUndecodable = "Undecodable"
	// ReasonLookupFailed: a cache could not be read.
	ReasonLookupFailed = "LookupFailed"
	// ReasonPanic: deciding went wrong in a way that is a bug.
	ReasonPanic = "Panic"
	// ReasonInvalidReview: the request was not an admission review.
	ReasonInvalidReview = "InvalidReview"
	// ReasonOverloaded: too many reviews were under way.
	ReasonOverloaded = "Overloaded"
)
