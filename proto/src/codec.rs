//! How the generated services encode: as [`tonic_prost::ProstCodec`], with buffers of our size.

use std::marker::PhantomData;

use bytes::{BufMut as _, Bytes, BytesMut};
pub use prost::Message;
use tonic::codec::{self, BufferSettings};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// What a call or a stream begins with, each way. Most messages are far smaller than the 8 KiB that
/// tonic begins with, a call uses the buffer once, and an idle stream keeps it: of ten thousand
/// sidecars that was a hundred megabytes and more.
const BUFFER_BYTES: usize = 1024;
/// A stream with more than this to say lets others run (tonic's own default).
const YIELD_BYTES: usize = 32 * 1024;

/// Prost with small buffers. They grow to what a message takes.
#[derive(Clone, Copy, Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// A message as it stands in the body of an answer: not compressed, with its length before it. It
/// takes what it needs and no more.
pub fn framed<T: Message>(message: &T) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("no message of ours is 4 GiB long"));
    message
        .encode(&mut frame)
        .expect("there is room for all of it");
    frame.freeze()
}

/// Whether a message is compressed, and its length.
const PREFIX_BYTES: usize = 5;

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(settings())
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}
