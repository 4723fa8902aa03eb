package topology

// Room is what is known of the room for volumes of one class in one segment.
type Room struct {
	Segment Segment
	Free    int64 // bytes
	Largest int64 // the size of the largest volume that fits; no more than Free where the driver tells nothing else
}
