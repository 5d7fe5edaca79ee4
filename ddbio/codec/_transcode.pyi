from ddbio.codec.reference import RecordEncoder as RecordEncoder
from ddbio.codec.reference import transcode_page as transcode_page
